"""What is done after a failed try, by failure class: the whole table, to be read at a glance.

`retry` tries the same call again, `retry_elsewhere` prefers another replica, and a class with no
tries left is given up, which hands the failure to the next turn's plan. A try counts against its
own class, so that a restarted machine does not use up the patience that is meant for bad answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from familiar.errors import FailureClass as F
from familiar.event import RecoveryChosen

Action = Literal["retry", "retry_elsewhere", "give_up"]


@dataclass(frozen=True, slots=True)
class Remedy:
    """`tries` is how many failures of the class are answered with `action` before giving up."""

    action: Action
    tries: int
    why: str


REMEDIES: dict[F, Remedy] = {
    F.BACKEND_UNREACHABLE: Remedy("retry_elsewhere", 6, "the replica is gone; another can serve"),
    F.BACKEND_STALLED: Remedy("retry_elsewhere", 2, "tokens stopped; another replica may flow"),
    F.BACKEND_SLOW: Remedy("retry_elsewhere", 1, "the replica is far below its usual rate"),
    F.BACKEND_REFUSED: Remedy(
        "give_up", 0, "the server refuses; the same request is refused again"
    ),
    F.WORKBENCH_LOST: Remedy("retry", 20, "nothing is wrong with the call; its workbench died"),
    F.QUEUE_TIMEOUT: Remedy("retry", 1, "no slot was free in time; one may be now"),
    F.CALL_OVERSIZED: Remedy(
        "give_up", 0, "tokens flowed until the deadline; the call is too large"
    ),
    F.CALL_TRUNCATED: Remedy(
        "retry", 1, "the answer was cut by its length; another sample may fit"
    ),
    F.CONTEXT_OVERFLOW: Remedy("give_up", 0, "the prompt does not fit; it must be planned smaller"),
    F.WIRE_MALFORMED: Remedy("retry", 2, "the answer could not be read; it is asked again"),
    F.OUTPUT_INVALID: Remedy("retry", 2, "the document is not well-formed; it is asked again"),
    F.WORKSPACE_FAILED: Remedy(
        "retry", 1, "the file could not be written; a disk may have room again"
    ),
    F.INTERNAL: Remedy("retry", 1, "an unexpected error; it may not repeat"),
}
NEVER = Remedy("give_up", 0, "this class is never tried again as it was")


def choose_recovery(
    call: str,
    attempt: int,
    failures: Sequence[F],
    *,
    failed_replica: str | None,
    max_attempts: int,
) -> RecoveryChosen:
    """Decide after the last of `failures` (oldest first, one for each failed try of this call).

    `max_attempts` bounds the tries of one call over all classes that say something about the call;
    a lost workbench says nothing about it and is not counted.
    """
    latest = failures[-1]
    remedy = REMEDIES.get(latest, NEVER)
    of_class = sum(1 for failure in failures if failure is latest)
    counted = sum(1 for failure in failures if failure is not F.WORKBENCH_LOST)
    left = remedy.tries - of_class + 1
    if left <= 0:
        action: Action = "give_up"
        reason = f"{latest}: {remedy.why}; {of_class} of {remedy.tries} tries used"
    elif counted >= max_attempts and latest is not F.WORKBENCH_LOST:
        action = "give_up"
        reason = f"{latest}: the call failed {counted} times and budgets.attempts is {max_attempts}"
    else:
        action = remedy.action
        reason = f"{latest}: {remedy.why}; try {of_class} of {remedy.tries} for this class"
    return RecoveryChosen(
        call=call,
        attempt=attempt,
        action=action,
        avoid_replica=failed_replica if action == "retry_elsewhere" else None,
        reasons=(reason,),
    )
