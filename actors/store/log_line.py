"""One event as one line of `orchestra.log`, for a person with `grep` and `less`.

    2026-03-01T12:00:07.412Z run-7f3a #14 turn=1 call=hero/1 role=naughty succeeded duration_ms=842
        replica=smollm2:0 tokens=512+220 raw=3b675d2394af text=3b675d2394af

A line (it is a single one) has the time, the run, the event's number, then turn, call and role
where there are any, what happened, and `duration_ms` where something took time. What is too long
for a line is named by the first twelve digits of its SHA-256, by which `familiar show` and the API
give the whole text. Outcome events do not repeat turn and role, so they are remembered from
the dispatch, or looked up when the dispatch was before this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from familiar import event as e

MAX_FIELD = 300
DIGITS = 12
Role = tuple[int | None, str | None]
"""Turn and alias."""


class LogLines:
    """Renders events in the order in which they were committed. `lookup` gives turn and alias of a
    call (run, call) whose dispatch this object has not seen."""

    def __init__(self, lookup: Callable[[str, str], Role | None] | None = None) -> None:
        self._lookup = lookup
        self._roles: dict[str, dict[str, Role]] = {}
        self._submitted: dict[str, float] = {}

    def render(self, event: e.Event) -> str:
        """The line, without its end."""
        body = event.body
        run = event.run_id
        call = getattr(body, "call", None)
        attempt = getattr(body, "attempt", None)
        turn = getattr(body, "turn", None)
        alias: str | None = None
        if isinstance(body, e.CallDispatched):
            alias = body.alias
            self._roles.setdefault(run, {})[body.call] = (turn, alias)
        elif isinstance(body, e.RunSubmitted):
            self._submitted[run] = event.at
        elif call is not None:
            turn, alias = self._role(run, call)
        parts = [_time(event.at), run, f"#{event.seq}"]
        if turn is not None:
            parts.append(f"turn={turn}")
        if call is not None:
            parts.append(f"call={call}/{attempt}" if attempt is not None else f"call={call}")
        if alias is not None:
            parts.append(f"role={alias}")
        parts.extend(self._happened(event))
        if isinstance(body, e.RunEnded):
            self._roles.pop(run, None)
            self._submitted.pop(run, None)
        return " ".join(parts)

    def _role(self, run: str, call: str) -> Role:
        known = self._roles.setdefault(run, {})
        if call not in known:
            known[call] = (self._lookup(run, call) if self._lookup else None) or (None, None)
        return known[call]

    def _happened(self, event: e.Event) -> Iterable[str]:
        match event.body:
            case e.RunSubmitted() as b:
                files = f" files={_quote(', '.join(b.files))}" if b.files else ""
                yield f"run submitted session={b.session_id} goal={_ref(b.goal)}{files}"
                yield f"workspace={_quote(b.workspace)}"
            case e.RunLimitsNoted():
                yield "limits of the run noted"
            case e.RunCancelRequested() as b:
                yield f"cancel requested reason={_quote(b.reason)}"
            case e.RunEnded() as b:
                yield f"run {b.outcome} reason={_quote(b.reason)}"
                if b.failure_class:
                    yield f"class={b.failure_class}"
                if event.run_id in self._submitted:
                    yield _duration(self._submitted[event.run_id], event.at)
            case e.TurnStarted():
                yield "turn started"
            case e.PlanAccepted() as b:
                more = "and goes on" if b.continue_ else "and ends"
                yield f"plan accepted from {b.planner}: {len(b.calls)} calls {more}"
                yield f"calls={_quote(', '.join(c.id for c in b.calls))}"
                if b.repairs:
                    yield f"mends={_quote('; '.join(m.message for m in b.repairs))}"
                if b.reason:
                    yield f"reason={_quote(b.reason)}"
            case e.PlanRejected() as b:
                yield f"plan rejected problems={_quote('; '.join(p.message for p in b.problems))}"
            case e.PlannerChosen() as b:
                yield f"planner chosen: {b.planner} reasons={_quote('; '.join(b.reasons))}"
            case e.CallDispatched() as b:
                yield f"{b.kind} call dispatched to replica={b.replica}"
                yield f"waited_ms={_ms(b.queued_at, event.at)} prompt={_ref(b.prompt)}"
                yield f"prompt_name={b.prompt_name}@{b.prompt_version[:DIGITS]}"
                if b.output_file:
                    yield f"file={_quote(b.output_file)}"
                if b.continues:
                    yield f"continues={_ref(b.continues)}"
                if b.reasons:
                    yield f"reasons={_quote('; '.join(b.reasons))}"
            case e.CallAdopted() as b:
                yield f"call adopted from {b.holder}"
            case e.CallSucceeded() as b:
                yield f"{b.kind} call succeeded {_duration(b.timing.started_at, b.timing.ended_at)}"
                if b.timing.first_token_at is not None:
                    yield f"first_token_ms={_ms(b.timing.started_at, b.timing.first_token_at)}"
                yield f"tokens={b.usage.prompt_tokens}+{b.usage.output_tokens}"
                yield f"raw={_ref(b.raw)} text={_ref(b.text)} finish={b.finish_reason}"
                if b.repairs:
                    yield f"repairs={_quote(', '.join(b.repairs))}"
            case e.CallFailed() as b:
                yield f"{b.kind} call failed class={b.failure.failure_class}"
                if b.timing is not None:
                    yield _duration(b.timing.started_at, b.timing.ended_at)
                yield f"why={_quote(b.failure.message)}"
                if b.raw is not None:
                    yield f"raw={_ref(b.raw)}"
                if b.partial is not None:
                    yield f"partial={_ref(b.partial)}"
            case e.CallSkipped() as b:
                yield f"call skipped because={_quote(', '.join(b.because))}"
            case e.RecoveryChosen() as b:
                yield f"recovery chosen: {b.action} reasons={_quote('; '.join(b.reasons))}"
                if b.avoid_replica:
                    yield f"avoid={b.avoid_replica}"
            case e.BudgetReached() as b:
                end = "nearly used up" if b.soft else "used up"
                yield f"budget {b.budget} {end} used={b.used:g} limit={b.limit:g}"
            case e.FilePublished() as b:
                yield f"file published path={_quote(b.path)} bytes={b.size}"
                yield f"sha256={b.sha256[:DIGITS]} commit={b.commit[:DIGITS]}"
            case e.StackCompacted() as b:
                yield f"stack compacted tokens={b.tokens_before}->{b.tokens_after}"
                yield f"reason={_quote(b.reason)} dropped={_quote('; '.join(b.dropped))}"
            case e.SynthesisMade() as b:
                adopted = "adopted" if b.adopted else "not adopted"
                yield f"{b.kind} synthesis {b.version} from {b.source}, {adopted}"
                yield f"text={_ref(b.text)} reason={_quote(b.reason)}"
                if b.prompt_name:
                    yield f"prompt_name={b.prompt_name}@{(b.prompt_version or '')[:DIGITS]}"
                if b.diff:
                    yield f"previous={b.previous} diff={_ref(b.diff)}"


def _time(at: float) -> str:
    milliseconds = round(at * 1000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    return f"{whole}.{milliseconds % 1000:03d}Z"


def _ref(ref: e.TextRef) -> str:
    return ref.sha256[:DIGITS]


def _ms(start: float, end: float) -> int:
    return round((end - start) * 1000)


def _duration(start: float, end: float) -> str:
    return f"duration_ms={_ms(start, end)}"


def _quote(text: str) -> str:
    """One line, without control characters, of bounded length; quoted when it has spaces."""
    cut = text if len(text) <= MAX_FIELD else f"{text[: MAX_FIELD - 1]}…"
    flat = "".join(c if c.isprintable() else " " for c in cut).replace('"', "'")
    return flat if flat and " " not in flat else f'"{flat}"'
