"""What is done after a failed try, by failure class: the whole table, to be read at a glance.

retry            the same call again, where there is room
retry_elsewhere  the same call again, on another replica if the pool has one; otherwise it waits
ask_again        the same call again, with what was wrong said to the model
continue         the call goes on from what it wrote (`continuation` says when that can work)
split            the call is given up; the next plan gets the arithmetic and has to cut it up
give_up          the call is given up, and the next plan hears why

A row's action is taken `tries` times, then what its `then` says. Tries count against their own
class, so that a restarted machine does not use up the patience that is meant for bad answers;
`budgets.attempts` bounds the tries of one call over all classes that say something about it, and
`budgets.recoveries` those of a run. A call without tries left is never sent out again as it was:
the lint refuses a plan that repeats it.

`README.md` beside this file shows the table to people; a test keeps the two the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from familiar.errors import FailureClass as F
from familiar.event import CallFailed, RecoveryAction, RecoveryChosen
from familiar.run import continuation
from familiar.run.state import CallState, FollowUp


@dataclass(frozen=True, slots=True)
class Remedy:
    """`tries` is how many failures of the class are answered with `action` before `then`; `never`
    is what is not done about it."""

    action: RecoveryAction
    tries: int
    then: Literal["give_up", "split"]
    why: str
    never: str


REMEDIES: Mapping[F, Remedy] = {
    F.BACKEND_UNREACHABLE: Remedy(
        "retry_elsewhere", 6, "give_up", "the replica is gone; another can serve", "asked to split"
    ),
    F.BACKEND_STALLED: Remedy(
        "retry_elsewhere", 2, "give_up", "tokens stopped; another replica may flow", "continued"
    ),
    F.BACKEND_SLOW: Remedy(
        "retry_elsewhere", 1, "give_up", "the replica is far below its usual rate", "continued"
    ),
    F.BACKEND_REFUSED: Remedy(
        "give_up", 0, "give_up", "the server refuses and would refuse it again", "tried again"
    ),
    F.WORKBENCH_LOST: Remedy(
        "retry",
        20,
        "give_up",
        "nothing is wrong with the call; its workbench died",
        "counted as a try",
    ),
    F.QUEUE_TIMEOUT: Remedy(
        "retry", 1, "give_up", "no slot was free in time; one may be now", "asked to split"
    ),
    F.CALL_OVERSIZED: Remedy(
        "continue", 2, "split", "tokens flowed until the deadline", "begun again from nothing"
    ),
    F.CALL_TRUNCATED: Remedy(
        "continue", 2, "split", "max_tokens cut the answer", "published as it is"
    ),
    F.CONTEXT_OVERFLOW: Remedy(
        "split", 0, "split", "the prompt does not fit; it must be planned smaller", "shortened"
    ),
    F.WIRE_MALFORMED: Remedy(
        "ask_again", 2, "give_up", "the answer could not be read", "guessed at"
    ),
    F.OUTPUT_INVALID: Remedy(
        "ask_again", 2, "give_up", "the document is not what was asked for", "published as it is"
    ),
    F.TOOL_FAILED: Remedy("ask_again", 1, "give_up", "a tool failed", "hidden from the model"),
    F.GUARD_BLOCKED: Remedy(
        "give_up", 0, "give_up", "a guard forbade what the call tried", "tried again"
    ),
    F.WORKSPACE_FAILED: Remedy(
        "retry", 1, "give_up", "the file could not be written; there may be room again", "moved"
    ),
    F.INTERNAL: Remedy("retry", 1, "give_up", "an unexpected error; it may not repeat", "hidden"),
}
"""The classes that a try of a call can fail with."""

RUN_LEVEL: Mapping[F, str] = {
    F.DEPENDENCY_FAILED: "the call is skipped (`call.skipped`); the next plan sees the cause",
    F.PLAN_INVALID: "the plan is asked again with its problems, `orchestrator.plan_tries` times; "
    "then the rules planner plans",
    F.PLAN_REPEATED: "the same as for an invalid plan: a plan that failed is never run again",
    F.EVALUATOR_REJECTED: "another turn, which hears the verdict",
    F.FILES_MISSING: "another turn while there are turns and progress; then the run has failed",
    F.BUDGET_EXHAUSTED: "the run ends with what there is",
    F.CANCELLED: "the run ends; nothing is tried again",
}
"""The classes of plans, turns and runs: a call is not tried again for them."""

_NOT_A_CALLS_FAULT = F.WORKBENCH_LOST


def choose_recovery(call: CallState, *, max_attempts: int) -> RecoveryChosen:
    """Decide after the last failure of `call`. Raises `ValueError` when it has none."""
    failed = call.last_failure
    if failed is None:
        raise ValueError(f"call {call.id} has not failed")
    latest = failed.failure.failure_class
    remedy = REMEDIES.get(latest)
    if remedy is None:
        why = f"{latest}: {RUN_LEVEL[latest]}"
        return RecoveryChosen(
            call=call.id, attempt=failed.attempt, action="give_up", reasons=(why,)
        )
    of_class = sum(1 for failure in call.failures if failure is latest)
    counted = sum(1 for failure in call.failures if failure is not _NOT_A_CALLS_FAULT)
    action = remedy.action
    reasons = [f"{latest}: {remedy.why}; try {of_class} of {remedy.tries} for this class"]
    if of_class > remedy.tries:
        action = remedy.then
        used = f"; {remedy.tries} of {remedy.tries} tries used" if remedy.tries else ""
        reasons = [f"{latest}: {remedy.why}{used}"]
    elif counted >= max_attempts and latest is not _NOT_A_CALLS_FAULT:
        action = remedy.then
        reasons = [
            f"{latest}: the call failed {counted} times and budgets.attempts is {max_attempts}"
        ]
    evidence: dict[str, object] = {}
    if "continue" in (action, remedy.action) or "split" in (action, remedy.action):
        size = continuation.measure(call)
        evidence = size.evidence()
        if action == "continue":
            hindrance = continuation.hindrance(call, size, tries_left=remedy.tries - of_class + 1)
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
    """What the next try is told beside its task, and how many tokens of it are written already.

    A continuation that is tried again goes on from where it began, and a worker that was asked
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
