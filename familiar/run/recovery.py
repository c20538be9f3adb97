"""The choice after a failed attempt: the class's row in `familiar.failure`, and the budgets.

A row's action is taken `times` times, then what its `then` says. Failures count against their own
class, so that a restarted machine does not use up the patience that is meant for bad answers;
`budgets.attempts` bounds the attempts of one call over all classes that say something about it, and
`budgets.recoveries` those of a run. A call without attempts left is never sent out again as it was:
the lint rejects a plan that repeats it.

A server that is busy, loading or limits the rate (`transient` in the evidence of the failure) is
given time before the next attempt: as long as it asks for (`retry_after_s`), else a pause that
grows. Hashes of run, call and attempt spread the waits, so a replay decides the same. A wait that
is longer than the queue deadline of the alias is not begun.

`README.md` beside this file shows the table to people; a test keeps the two the same.
"""

from __future__ import annotations

import math
import zlib

from familiar.errors import FailureClass as F
from familiar.event import CallFailed, RecoveryAction, RecoveryChosen
from familiar.failure import FAILURES
from familiar.limits import RunLimits
from familiar.run import continuation
from familiar.run.state import CallState, FollowUp

PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
"""The first pause before a server that did not say how long, and the longest; each doubles."""
SCATTER = 0.2
"""Share by which the waits of different calls differ, so that not all come back at one moment."""
LONGEST_WAIT_S = 600.0
"""The longest wait where the limits name none: histories of earlier versions."""


def choose_recovery(call: CallState, limits: RunLimits, run_id: str) -> RecoveryChosen:
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
    elif counted >= limits.attempts and row.counted:
        action = remedy.then
        reasons = [
            f"{latest}: the call failed {counted} times and budgets.attempts is {limits.attempts}"
        ]
    evidence: dict[str, object] = {}
    if "continue" in (action, remedy.action) or "split" in (action, remedy.action):
        size = continuation.measure(call)
        evidence = size.evidence()
        if action == "continue":
            left = remedy.times - of_class + 1
            hindrance = continuation.hindrance(call, size, attempts_left=left)
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
    wait_s = None
    if action not in ("give_up", "split") and failed.failure.evidence.get("transient") is True:
        wait_s, said = _wait(failed, of_class, f"{run_id}/{call.id}/{failed.attempt}")
        alias = call.planned.alias
        longest = limits.longest_waits.get(alias, LONGEST_WAIT_S)
        if wait_s > longest:
            action, wait_s = remedy.then, None
            said += f", and {alias} waits {longest:g} s at most (queue_deadline_s)"
        reasons.append(said)
    return RecoveryChosen.model_validate(
        {
            "call": call.id,
            "attempt": failed.attempt,
            "action": action,
            "avoid_replica": call.replica if action == "retry_elsewhere" else None,
            "wait_s": wait_s,
            "reasons": tuple(reasons),
            "evidence": evidence,
        }
    )


def _wait(failed: CallFailed, of_class: int, key: str) -> tuple[float, str]:
    """Seconds until the server is asked again, and the reason."""
    asked = failed.failure.evidence.get("retry_after_s")
    scatter = 1.0 + SCATTER * zlib.crc32(key.encode()) / 0xFFFFFFFF
    if isinstance(asked, int | float) and not isinstance(asked, bool) and 0 <= asked < math.inf:
        return round(asked * scatter, 3), f"the server asks for {asked:g} s"
    pause = min(PAUSE_S * 2.0 ** min(of_class - 1, 10), LONGEST_PAUSE_S)
    return round(pause * scatter, 3), "the server is busy or not up yet"


def follow_up(
    call: CallState, failed: CallFailed, action: RecoveryAction
) -> tuple[FollowUp | None, int]:
    """The follow-up of the next attempt, and the number of its tokens that are written already.

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
