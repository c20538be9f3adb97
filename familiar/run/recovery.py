"""The choice after a failed attempt: the class's row in `familiar.failure`, and the budgets.

A row's action is taken `times` times, then what its `then` says. Failures count against their own
class, so that a restarted machine does not use up the patience that is meant for bad answers;
`budgets.attempts` bounds the attempts of one call over all classes that say something about it, and
`budgets.recoveries` those of a run. A call without attempts left is never sent out again as it was:
the lint rejects a plan that repeats it.

`README.md` beside this file shows the table to people; a test keeps the two the same.
"""

from __future__ import annotations

from familiar.errors import FailureClass as F
from familiar.event import CallFailed, RecoveryAction, RecoveryChosen
from familiar.failure import FAILURES
from familiar.run import continuation
from familiar.run.state import CallState, FollowUp


def choose_recovery(call: CallState, *, max_attempts: int) -> RecoveryChosen:
    """Decide after the last failure of `call`. Raises `ValueError` when it has none."""
    failed = call.last_failure
    if failed is None:
        raise ValueError(f"call {call.id} has not failed")
    latest = failed.failure.failure_class
    row = FAILURES[latest]
    remedy = row.reaction
    if isinstance(remedy, str):
        why = f"{latest}: {remedy}"
        return RecoveryChosen(
            call=call.id, attempt=failed.attempt, action="give_up", reasons=(why,)
        )
    of_class = sum(1 for failure in call.failures if failure is latest)
    counted = sum(1 for failure in call.failures if FAILURES[failure].counted)
    action = remedy.action
    reasons = [f"{latest}: {remedy.why}; attempt {of_class} of {remedy.times} for this class"]
    if of_class > remedy.times:
        action = remedy.then
        used = f"; {remedy.times} of {remedy.times} attempts used" if remedy.times else ""
        reasons = [f"{latest}: {remedy.why}{used}"]
    elif counted >= max_attempts and row.counted:
        action = remedy.then
        reasons = [
            f"{latest}: the call failed {counted} times and budgets.attempts is {max_attempts}"
        ]
    evidence: dict[str, object] = {}
    if "continue" in (action, remedy.action) or "split" in (action, remedy.action):
        size = continuation.measure(call)
        evidence = size.evidence()
        if action == "continue":
            hindrance = continuation.hindrance(call, size, tries_left=remedy.times - of_class + 1)
            action = remedy.then if hindrance else "continue"
            reasons.append(hindrance or size.sentence())
        if action == "split":
            reasons.append(continuation.instruction(call, size))
    elif latest is F.BACKEND_REFUSED and call.follow_up is not None and call.follow_up.continues:
        action = "split"
        reasons.append(continuation.instruction(call, continuation.measure(call)))
    if action == "split" and call.kind != "worker":
        action = "give_up"
        reasons[-1] = f"a {call.kind} call cannot be split"
    return RecoveryChosen.model_validate(
        {
            "call": call.id,
            "attempt": failed.attempt,
            "action": action,
            "avoid_replica": call.replica if action == "retry_elsewhere" else None,
            "reasons": tuple(reasons),
            "evidence": evidence,
        }
    )


def follow_up(
    call: CallState, failed: CallFailed, action: RecoveryAction
) -> tuple[FollowUp | None, int]:
    """What the next attempt is told beside its task, and how many tokens of it are written already.

    A continuation that is repeated goes on from where it began, and a worker that was asked
    again and lost its replica hears the problem once more. A plan call is asked on top of its
    recorded prompt, which has said it already.
    """
    before = call.follow_up
    if action == "continue":
        return FollowUp(failed.raw, continues=True), call.written_tokens
    if action == "ask_again":
        return FollowUp(failed.raw, problem=failed.failure.message), 0
    if before is not None and before.continues:
        return before, call.written_tokens - failed.usage.output_tokens
    return None if call.kind == "plan" else before, 0
