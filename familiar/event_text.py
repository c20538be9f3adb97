"""Events in words: the one place from which the log and the terminal take their text.

`describe` gives an event two forms of the same facts. `action` and `fields` make the line of
`orchestra.log`, complete and for `grep`. `brief` is the sentence for a person who follows the run;
it is empty where such a person needs no line.
"""

from __future__ import annotations

from dataclasses import dataclass

from familiar import event as e
from familiar.safe_text import safe_line

MAX_FIELD = 300
DIGITS = 12


@dataclass(frozen=True, slots=True)
class Description:
    """`fields` are `name=value` texts, quoted and of bounded length."""

    action: str
    fields: tuple[str, ...]
    brief: str


def describe(event: e.Event, submitted_at: float | None = None) -> Description:
    """`submitted_at` is when the run was submitted, where that is known."""
    body: object = event.body
    match body:
        case e.RunSubmitted() as b:
            files = f", {len(b.files)} files wanted" if b.files else ""
            return _say(
                "run submitted",
                f"run {event.run_id} in session {b.session_id}{files}",
                f"session={b.session_id}",
                f"goal={_ref(b.goal)}",
                _list("files", b.files, ", "),
                f"workspace={quote(b.workspace)}",
            )
        case e.RunLimitsNoted():
            return _say("limits of the run recorded", "")
        case e.RunCancelRequested() as b:
            return _say("cancel requested", "cancel requested", f"reason={quote(b.reason)}")
        case e.RunEnded() as b:
            took = _duration(submitted_at, event.at) if submitted_at is not None else ""
            return _say(
                f"run {b.outcome}",
                f"run {b.outcome}: {b.reason}",
                f"reason={quote(b.reason)}",
                f"class={b.failure_class}" if b.failure_class else "",
                took,
            )
        case e.TurnStarted() as b:
            return _say("turn started", f"turn {b.turn}")
        case e.PlanAccepted() as b:
            calls = ", ".join(
                call.id + (f" after {'+'.join(call.depends_on)}" if call.depends_on else "")
                for call in b.calls
            )
            more = "and goes on" if b.continue_ else "and ends"
            return _say(
                f"plan accepted from {b.planner}: {len(b.calls)} calls {more}",
                f"plan by {b.planner}: {calls or 'no calls'}",
                f"calls={quote(', '.join(c.id for c in b.calls))}",
                _list("repairs", tuple(m.message for m in b.repairs)),
                f"reason={quote(b.reason)}" if b.reason else "",
            )
        case e.PlanRejected() as b:
            problems = "; ".join(p.message for p in b.problems)
            return _say(
                "plan rejected", f"plan rejected: {problems}", f"problems={quote(problems)}"
            )
        case e.PlannerChosen() as b:
            why = "; ".join(b.reasons)
            return _say(
                f"planner chosen: {b.planner}",
                f"{b.planner} plan this turn: {why}",
                f"reasons={quote(why)}",
            )
        case e.CallDispatched() as b:
            again = f", attempt {b.attempt}" if b.attempt > 1 else ""
            again += ", from the text so far" if b.continues else ""
            return _say(
                f"{b.kind} call dispatched to replica={b.replica}",
                f"{b.call} → {b.replica} ({b.alias}{again})",
                f"waited_ms={_ms(b.queued_at, event.at)}",
                f"prompt={_ref(b.prompt)}",
                f"prompt_name={b.prompt_name}@{b.prompt_version[:DIGITS]}",
                f"file={quote(b.output_file)}" if b.output_file else "",
                f"continues={_ref(b.continues)}" if b.continues else "",
                _list("reasons", b.reasons),
            )
        case e.CallAdopted() as b:
            return _say(f"call adopted from {b.holder}", f"{b.call} adopted from {b.holder}")
        case e.CallSucceeded() as b:
            seconds = b.timing.ended_at - b.timing.started_at
            first = b.timing.first_token_at
            return _say(
                f"{b.kind} call succeeded",
                f"{b.call} done in {seconds:.1f} s, {b.usage.output_tokens} tokens",
                _duration(b.timing.started_at, b.timing.ended_at),
                f"first_token_ms={_ms(b.timing.started_at, first)}" if first is not None else "",
                f"tokens={b.usage.prompt_tokens}+{b.usage.output_tokens}",
                f"raw={_ref(b.raw)}",
                f"text={_ref(b.text)}",
                f"reasoning={_ref(b.reasoning)}" if b.reasoning is not None else "",
                f"finish={b.finish_reason}",
                _list("repairs", b.repairs, ", "),
            )
        case e.CallFailed() as b:
            failure = b.failure
            return _say(
                f"{b.kind} call failed",
                f"{b.call} failed, {failure.failure_class}: {failure.message}",
                f"class={failure.failure_class}",
                _duration(b.timing.started_at, b.timing.ended_at) if b.timing else "",
                f"why={quote(failure.message)}",
                f"raw={_ref(b.raw)}" if b.raw is not None else "",
                f"partial={_ref(b.raw)}" if b.raw is not None else "",
                f"reasoning={_ref(b.reasoning)}" if b.reasoning is not None else "",
            )
        case e.CallSkipped() as b:
            because = ", ".join(b.because)
            return _say(
                "call skipped",
                f"{b.call} skipped, because {because} failed",
                f"because={quote(because)}",
            )
        case e.RecoveryChosen() as b:
            why = "; ".join(b.reasons)
            after = f" after {b.wait_s:.1f} s" if b.wait_s else ""
            return _say(
                f"recovery chosen: {b.action}",
                f"{b.call}: {b.action.replace('_', ' ')}{after} ({why})",
                f"reasons={quote(why)}",
                f"avoid={b.avoid_replica}" if b.avoid_replica else "",
                f"wait_s={b.wait_s:g}" if b.wait_s else "",
            )
        case e.BudgetReached() as b:
            end = "nearly used up" if b.soft else "used up"
            return _say(
                f"budget {b.budget} {end}",
                f"budget {b.budget} {end}: {b.used:g} of {b.limit:g}",
                f"used={b.used:g}",
                f"limit={b.limit:g}",
            )
        case e.FilePublished() as b:
            return _say(
                "file published",
                f"{b.path} is there, {b.size} bytes",
                f"path={quote(b.path)}",
                f"bytes={b.size}",
                f"sha256={b.sha256[:DIGITS]}",
                f"commit={b.commit[:DIGITS]}",
            )
        case e.StackCompacted() as b:
            return _say(
                "stack compacted",
                f"message stack compacted, {b.tokens_before} → {b.tokens_after} tokens",
                f"tokens={b.tokens_before}->{b.tokens_after}",
                f"reason={quote(b.reason)}",
                f"dropped={quote('; '.join(b.dropped))}",
            )
        case e.SynthesisMade() as b:
            adopted = "adopted" if b.adopted else "not adopted"
            return _say(
                f"{b.kind} synthesis {b.version} from {b.source}, {adopted}",
                f"{b.kind} answer {b.version} by {b.source}"
                + ("" if b.adopted else f" (not adopted: {b.reason})"),
                f"text={_ref(b.text)}",
                f"reason={quote(b.reason)}",
                f"prompt_name={b.prompt_name}@{(b.prompt_version or '')[:DIGITS]}"
                if b.prompt_name
                else "",
                f"previous={b.previous}" if b.diff else "",
                f"diff={_ref(b.diff)}" if b.diff else "",
            )
        case _:
            # A kind without words of its own is still a line.
            return _say(event.body.type.replace(".", " "), "")


def quote(text: str) -> str:
    """One line, without control characters, of bounded length; quoted when it has spaces."""
    cut = text if len(text) <= MAX_FIELD else f"{text[: MAX_FIELD - 1]}…"
    flat = "".join(c if c.isprintable() else " " for c in cut).replace('"', "'")
    return flat if flat and " " not in flat else f'"{flat}"'


def _say(action: str, brief: str, *fields: str) -> Description:
    return Description(action, tuple(filter(None, fields)), safe_line(brief))


def _list(name: str, items: tuple[str, ...], between: str = "; ") -> str:
    return f"{name}={quote(between.join(items))}" if items else ""


def _ref(ref: e.TextRef) -> str:
    return ref.sha256[:DIGITS]


def _ms(start: float, end: float) -> int:
    return round((end - start) * 1000)


def _duration(start: float, end: float) -> str:
    return f"duration_ms={_ms(start, end)}"
