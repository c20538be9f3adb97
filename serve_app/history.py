"""The recorded past as the API's documents: queries of the store put into the shapes of `models`.

All functions block and run in threads. They raise `NotFound` for an unknown id.
"""

from __future__ import annotations

from actors.store.queries import Reader
from actors.store.rows import (
    AttemptDetail,
    AttemptRow,
    CallRow,
    CallState,
    Published,
    RunState,
    SynthesisRow,
    SynthesisState,
    TurnState,
)
from familiar.errors import InputError, NotFound
from familiar.event import Event
from familiar.explain.diff import RunDiff, diff
from familiar.explain.explain import explain
from familiar.explain.explanation import Explanation
from familiar.goal_files import named_paths
from serve_app.media_type import media_type_of
from serve_app.models import (
    Artifact,
    ArtifactList,
    AttemptText,
    CallDetail,
    CallList,
    Plan,
    PlanNode,
    Repair,
    RunDetail,
    RunPage,
    Session,
    StreamEnd,
    Synthesis,
    TurnPlan,
    shown,
)

_EVENTS_PAGE = 1_000


def need_run(reader: Reader, run_id: str) -> None:
    """Raise `NotFound` unless there is such a run."""
    reader.head(run_id)


def session(reader: Reader, session_id: str) -> Session:
    runs = reader.session_runs(session_id)
    return Session(
        session_id=session_id,
        workspace=runs[-1].workspace,
        created_at=runs[0].submitted_at,
        runs=list(runs),
    )


def run_page(reader: Reader, *, limit: int, cursor: str | None, status: str | None) -> RunPage:
    """Newest first. Raises `InputError` for a cursor that was not given out."""
    try:
        found = reader.list_runs(limit + 1, cursor, status)
    except NotFound:
        raise InputError(
            f"{cursor} is not a cursor of this list.",
            field="query.cursor",
            remedy="Send `next` of the previous page, or no cursor for the first page.",
        ) from None
    page = found[:limit]
    return RunPage(runs=list(page), next=page[-1].run_id if len(found) > limit else None)


def run_detail(reader: Reader, run_id: str) -> RunDetail:
    run = reader.run(run_id)
    goal = reader.text(run.goal_sha256)
    syntheses = tuple(_synthesis(reader, row) for row in reader.syntheses(run_id))
    taken = named_paths(goal)
    named = dict.fromkeys(name.path for name in taken if name.problem is None)
    return RunDetail(
        **shown(run, RunState),
        goal=goal,
        taken=taken if tuple(named) == run.files_wanted else (),
        syntheses=syntheses,
    )


def last_seq(reader: Reader, run_id: str) -> tuple[int, StreamEnd | None]:
    """The seq of the newest event, and how the run ended if it has."""
    run = reader.head(run_id)
    if run.status in ("running", "cancelling"):
        return run.last_seq, None
    return run.last_seq, StreamEnd(
        run_id=run_id,
        seq=run.last_seq,
        outcome=run.status,
        reason=run.reason or "",
        failure_class=run.failure_class,
    )


def plan(reader: Reader, run_id: str) -> Plan:
    turns = [
        TurnPlan(
            **shown(row.turn, TurnState),
            repairs=tuple(Repair.model_validate(repair) for repair in row.turn.repairs),
            worker_calls=tuple(_node(call) for call in row.calls),
        )
        for row in reader.plan(run_id)
    ]
    return Plan(run_id=run_id, turns=turns, decisions=reader.decisions(run_id))


def _node(call: CallRow) -> PlanNode:
    return PlanNode(
        id=call.call_id,
        alias=call.alias,
        prompt=call.prompt,
        depends_on=call.depends_on,
        output_file=call.output_file,
        needs=call.needs,
        status=call.status,
    )


def call_list(reader: Reader, run_id: str) -> CallList:
    return CallList(run_id=run_id, calls=list(reader.calls(run_id)))


def call_detail(reader: Reader, run_id: str, call_id: str) -> CallDetail:
    call = reader.call(run_id, call_id)
    return CallDetail(
        **shown(call, CallState),
        run_id=run_id,
        needs=call.needs,
        task=call.prompt,
        attempts=tuple(_attempt_text(reader, row) for row in call.attempts),
    )


def _attempt_text(reader: Reader, row: AttemptRow) -> AttemptText:
    return AttemptText(
        **shown(row, AttemptDetail),
        prompt=_text(reader, row.prompt_sha256),
        raw=_text(reader, row.raw_sha256),
        content=_text(reader, row.text_sha256),
        reasoning=_text(reader, row.reasoning),
    )


def _synthesis(reader: Reader, row: SynthesisRow) -> Synthesis:
    return Synthesis(
        **shown(row, SynthesisState),
        text=_text(reader, row.text_sha256),
        diff=_text(reader, row.diff_sha256),
    )


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
            remedy="Send at least the digits that the log shows.",
        )
    return reader.text(found[0])


def explanation(reader: Reader, run_id: str) -> Explanation:
    """Why the run went as it did, up to its newest event."""
    return explain(_events(reader, run_id))


def difference(reader: Reader, run_id: str, other: str) -> RunDiff:
    return diff(_events(reader, run_id), _events(reader, other))


def _events(reader: Reader, run_id: str) -> list[Event]:
    """The whole history. Raises `NotFound`."""
    found: list[Event] = []
    while page := reader.events(run_id, after=len(found), limit=_EVENTS_PAGE):
        found += page
    return found


def artifacts(reader: Reader, run_id: str) -> ArtifactList:
    found = [
        Artifact(
            **shown(file, Published), commit=file.git_commit, media_type=media_type_of(file.path)
        )
        for file in reader.files(run_id)
    ]
    return ArtifactList(run_id=run_id, artifacts=found)


def artifact(reader: Reader, run_id: str, path: str) -> Artifact:
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
