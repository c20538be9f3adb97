"""The recorded past as the API's models: queries of the store put into the shapes that HTTP shows.

All functions block and run in threads. They raise `NotFound` for an unknown id.
"""

from __future__ import annotations

from actors.store.queries import Reader
from actors.store.rows import AttemptRow, CallRow, RunRow, SynthesisRow
from familiar.errors import InputError, NotFound
from familiar.event import Event
from familiar.explain.diff import diff
from familiar.explain.explain import explain
from serve_app.media_type import media_type_of
from serve_app.models.artifact import Artifact, ArtifactList
from serve_app.models.call import AttemptSummary, AttemptText, CallDetail, CallList, CallSummary
from serve_app.models.event import StreamEnd
from serve_app.models.explanation import ExplanationDetail, RunDifference
from serve_app.models.plan import Decision, Plan, PlanNode, Repair, TurnPlan
from serve_app.models.run import RunDetail, RunPage, RunSummary, Session, Synthesis

_EVENTS_PAGE = 1_000


def need_run(reader: Reader, run_id: str) -> None:
    """Raise `NotFound` unless there is such a run."""
    reader.run(run_id)


def session(reader: Reader, session_id: str) -> Session:
    runs = reader.session_runs(session_id)
    return Session(
        session_id=session_id,
        workspace=runs[-1].workspace,
        created_at=runs[0].submitted_at,
        runs=[RunSummary.model_validate(run) for run in runs],
    )


def run_page(reader: Reader, *, limit: int, cursor: str | None, status: str | None) -> RunPage:
    """Newest first. Raises `InputError` for a cursor that was not given out."""
    try:
        found = reader.list_runs(limit + 1, cursor, status)
    except NotFound:
        raise InputError(
            f"{cursor} is no cursor.",
            field="query.cursor",
            remedy="Send `next` of the page before, or no cursor for the first page.",
        ) from None
    page = found[:limit]
    return RunPage(
        runs=[RunSummary.model_validate(run) for run in page],
        next=page[-1].run_id if len(found) > limit else None,
    )


def run_detail(reader: Reader, run_id: str) -> RunDetail:
    run = reader.run(run_id)
    named = RunDetail.model_fields.keys() - {"goal", "syntheses"}
    fields = {name: getattr(run, name) for name in named}
    goal = reader.text(run.goal_sha256)
    syntheses = [_synthesis(reader, row) for row in reader.syntheses(run_id)]
    return RunDetail.model_validate({**fields, "goal": goal, "syntheses": syntheses})


def last_seq(reader: Reader, run_id: str) -> tuple[int, StreamEnd | None]:
    """The seq of the newest event, and how the run ended if it has."""
    run = reader.run(run_id)
    return run.last_seq, _end(run)


def _end(run: RunRow) -> StreamEnd | None:
    if run.outcome is None:
        return None
    return StreamEnd.model_validate(
        {
            "run_id": run.run_id,
            "seq": run.last_seq,
            "outcome": run.outcome,
            "reason": run.reason or "",
            "failure_class": run.failure_class,
        }
    )


def plan(reader: Reader, run_id: str) -> Plan:
    turns = [
        TurnPlan.model_validate(
            {
                "turn": row.turn.turn,
                "started_at": row.turn.started_at,
                "planned_at": row.turn.planned_at,
                "planner": row.turn.planner,
                "continues": row.turn.continues,
                "reason": row.turn.reason,
                "repairs": [Repair.model_validate(repair) for repair in row.turn.repairs],
                "worker_calls": [_node(call) for call in row.calls],
            }
        )
        for row in reader.plan(run_id)
    ]
    decisions = [Decision.model_validate(row) for row in reader.decisions(run_id)]
    return Plan(run_id=run_id, turns=turns, decisions=decisions)


def _node(call: CallRow) -> PlanNode:
    return PlanNode.model_validate(
        {
            "id": call.call_id,
            "alias": call.alias,
            "prompt": call.prompt,
            "depends_on": call.depends_on,
            "output_file": call.output_file,
            "needs": call.needs,
            "status": call.status,
        }
    )


def call_list(reader: Reader, run_id: str) -> CallList:
    calls = [CallSummary.model_validate(_summary(call)) for call in reader.calls(run_id)]
    return CallList(run_id=run_id, calls=calls)


def _summary(call: CallRow) -> dict[str, object]:
    names = CallSummary.model_fields.keys() - {"attempts"}
    return {**{name: getattr(call, name) for name in names}, "attempts": call.attempts}


def call_detail(reader: Reader, run_id: str, call_id: str) -> CallDetail:
    call = reader.call(run_id, call_id)
    return CallDetail.model_validate(
        {
            **_summary(call),
            "run_id": run_id,
            "needs": call.needs,
            "task": call.prompt,
            "attempts": [_attempt_text(reader, row) for row in call.attempts],
        }
    )


def _attempt_text(reader: Reader, row: AttemptRow) -> AttemptText:
    summary = {name: getattr(row, name) for name in AttemptSummary.model_fields}
    return AttemptText.model_validate(
        {
            **summary,
            "prompt_name": row.prompt_name,
            "prompt_version": row.prompt_version,
            "prompt": _text(reader, row.prompt_sha256),
            "grammar": row.grammar,
            "raw": _text(reader, row.raw_sha256),
            "content": _text(reader, row.text_sha256),
            "partial": row.partial,
            "reasoning": _text(reader, row.reasoning),
            "failure_evidence": row.failure_evidence,
        }
    )


def _synthesis(reader: Reader, row: SynthesisRow) -> Synthesis:
    named = Synthesis.model_fields.keys() - {"text", "diff"}
    fields = {name: getattr(row, name) for name in named}
    text, diff = _text(reader, row.text_sha256), _text(reader, row.diff_sha256)
    return Synthesis.model_validate({**fields, "text": text, "diff": diff})


def _text(reader: Reader, sha256: str | None) -> str | None:
    """The text, or None where none was recorded."""
    if sha256 is None:
        return None
    try:
        return reader.text(sha256)
    except NotFound:
        return None


def text(reader: Reader, run_id: str, digits: str) -> str:
    """The one text of this run whose hash begins with `digits`."""
    run = reader.run(run_id)
    named = {run.goal_sha256, *(file.sha256 for file in reader.files(run_id))}
    for call in reader.calls(run_id):
        for row in call.attempts:
            named |= {row.prompt_sha256 or "", row.raw_sha256 or "", row.text_sha256 or ""}
    for version in reader.syntheses(run_id):
        named |= {version.text_sha256, version.diff_sha256 or ""}
    found = [sha256 for sha256 in named if sha256.startswith(digits)]
    if len(found) != 1:
        raise NotFound(
            f"{digits} names {len(found) or 'no'} text of run {run_id}.",
            field="digits",
            remedy="Send the digits that the log has, or more of them.",
        )
    return reader.text(found[0])


def explanation(reader: Reader, run_id: str) -> ExplanationDetail:
    """Why the run went as it did, up to its newest event."""
    return ExplanationDetail.model_validate(explain(_events(reader, run_id)))


def difference(reader: Reader, run_id: str, other: str) -> RunDifference:
    """The differences between two runs."""
    return RunDifference.model_validate(diff(_events(reader, run_id), _events(reader, other)))


def _events(reader: Reader, run_id: str) -> list[Event]:
    """The whole history. Raises `NotFound`."""
    found: list[Event] = []
    while page := reader.events(run_id, after=len(found), limit=_EVENTS_PAGE):
        found += page
    return found


def artifacts(reader: Reader, run_id: str) -> ArtifactList:
    found = [
        Artifact(
            path=file.path,
            call_id=file.call_id,
            attempt=file.attempt,
            sha256=file.sha256,
            size=file.size,
            commit=file.git_commit,
            at=file.at,
            media_type=media_type_of(file.path),
        )
        for file in reader.files(run_id)
    ]
    return ArtifactList(run_id=run_id, artifacts=found)


def artifact(reader: Reader, run_id: str, path: str) -> Artifact:
    """The artifact with exactly this path."""
    for found in artifacts(reader, run_id).artifacts:
        if found.path == path:
            return found
    raise NotFound(
        f"Run {run_id} has published no file {path}.",
        field="path",
        remedy=f"GET /v1/runs/{run_id}/artifacts lists its files.",
    )


def artifact_bytes(reader: Reader, artifact: Artifact) -> bytes:
    """The file as it was published. Its SHA-256 is the artifact's."""
    return reader.text(artifact.sha256).encode("utf-8")
