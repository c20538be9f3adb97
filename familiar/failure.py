"""Everything that depends on a failure class, one row a class.

A row says who is to blame, what recovery does about an attempt that failed so (or, for classes of
plans, turns and runs, what follows), whether the replica is probed, and what a person can do.
Nothing else in the code keeps a table by failure class: a new class is a member of `FailureClass`
and a row here.

A recovery's actions:

retry            the same call again, where there is room
retry_elsewhere  the same call again, on another replica if the pool has one; otherwise it waits
ask_again        the same call again; the model is told the problem
continue         the call goes on from the text it wrote (`run/continuation.py` says when)
split            the call is given up; the next plan gets the arithmetic and has to cut it up
give_up          the call is given up, and the next plan is told why
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from familiar.errors import FailureClass as F
from familiar.event import RecoveryAction

Blame = Literal["backend", "call", "plan", "run", "person"]
"""backend: an engine, a replica or a node. call: the same call would fail so anywhere. plan: the
orchestrator's plan. run: queues, budgets, the workspace, familiar itself. person: on request."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """`action` is taken for the first `times` failures of the class, then `then`; `why` is the
    reason, and `never` names the reaction that is ruled out."""

    action: RecoveryAction
    times: int
    then: Literal["give_up", "split"]
    why: str
    never: str


@dataclass(frozen=True, slots=True)
class FailureRow:
    """The row of a class. `reaction` is a `Recovery` where an attempt of a call can fail with the
    class, otherwise a sentence that says what follows. `counted` says whether such a failure uses
    up the budgets of attempts and recoveries; `produced` is False for a class that only histories
    of older versions hold."""

    blame: Blame
    reaction: Recovery | str
    advice: str
    probed: bool = False
    counted: bool = True
    produced: bool = True


FAILURES: Mapping[F, FailureRow] = {
    F.BACKEND_UNREACHABLE: FailureRow(
        "backend",
        Recovery(
            "retry_elsewhere",
            6,
            "give_up",
            "the replica is gone; another one can take the call",
            "asked to split",
        ),
        "`familiar pools` shows the pool; a server at a URL must be up.",
        probed=True,
    ),
    F.BACKEND_STALLED: FailureRow(
        "backend",
        Recovery(
            "retry_elsewhere",
            2,
            "give_up",
            "tokens stopped; another replica may deliver them",
            "continued",
        ),
        "The engine stopped sending tokens: check its log, or raise the alias's stall_deadline_s.",
        probed=True,
    ),
    F.BACKEND_SLOW: FailureRow(
        "backend",
        Recovery(
            "retry_elsewhere", 1, "give_up", "the replica is far below its usual rate", "continued"
        ),
        "Raise the alias's first_token_deadline_s, or add a replica to the pool.",
        probed=True,
    ),
    F.BACKEND_REFUSED: FailureRow(
        "backend",
        Recovery(
            "give_up",
            0,
            "give_up",
            "the server rejects the request and would reject it again",
            "attempted again",
        ),
        "Read the engine's message above: it rejects the model's name, the key or a limit.",
        probed=True,
    ),
    F.WORKBENCH_LOST: FailureRow(
        "backend",
        Recovery(
            "retry",
            20,
            "give_up",
            "the call is not the cause; its process died",
            "counted as an attempt",
        ),
        "The process that ran the call was lost; run it again. If it repeats, see "
        "`familiar pools`.",
        counted=False,
        produced=False,
    ),
    F.QUEUE_TIMEOUT: FailureRow(
        "run",
        Recovery(
            "retry", 1, "give_up", "no slot was free in time; one may be free now", "asked to split"
        ),
        "The pool was busy for too long: add a replica or slots, or raise queue_deadline_s.",
    ),
    F.CALL_OVERSIZED: FailureRow(
        "call",
        Recovery(
            "continue", 2, "split", "tokens flowed until the deadline", "begun again from nothing"
        ),
        "The answer was too long for its deadline: ask for less in one file, or raise the "
        "alias's deadline_s.",
        probed=True,
    ),
    F.CALL_TRUNCATED: FailureRow(
        "call",
        Recovery("continue", 2, "split", "max_tokens cut the answer", "published as it is"),
        "The answer reached sampling.max_tokens: raise it, or ask for less in one file.",
        probed=True,
    ),
    F.CONTEXT_OVERFLOW: FailureRow(
        "call",
        Recovery(
            "split",
            0,
            "split",
            "the prompt does not fit; the plan must split the call",
            "shortened",
        ),
        "The prompt does not fit: shorten the goal, or raise the pool's context_length.",
        probed=True,
    ),
    F.WIRE_MALFORMED: FailureRow(
        "call",
        Recovery("ask_again", 2, "give_up", "the answer could not be read", "guessed at"),
        "The model's answer could not be read: see it with `familiar calls RUN CALL`; a larger "
        "model or lower temperature helps.",
    ),
    F.OUTPUT_INVALID: FailureRow(
        "call",
        Recovery(
            "ask_again",
            2,
            "give_up",
            "the document does not pass its checks",
            "published as it is",
        ),
        "The document was not valid: see it with `familiar calls RUN CALL`.",
    ),
    F.TOOL_FAILED: FailureRow(
        "call",
        Recovery("ask_again", 1, "give_up", "a tool failed", "hidden from the model"),
        "A tool failed: its result is in `familiar calls RUN CALL`.",
    ),
    F.GUARD_BLOCKED: FailureRow(
        "call",
        Recovery("give_up", 0, "give_up", "a guard blocked the call", "attempted again"),
        "A guard blocked the call; the log has the reason.",
    ),
    F.WORKSPACE_FAILED: FailureRow(
        "run",
        Recovery(
            "retry",
            1,
            "give_up",
            "the file could not be written; there may be room again",
            "moved",
        ),
        "Check the workspace: free space, write permission, state of the git repository.",
    ),
    F.INTERNAL: FailureRow(
        "run",
        Recovery("retry", 1, "give_up", "an unexpected error; it may not repeat", "hidden"),
        "This is a defect of familiar: please report it with the log.",
    ),
    F.DEPENDENCY_FAILED: FailureRow(
        "plan",
        "the call is skipped (`call.skipped`); the next plan sees the cause",
        "A call that it depends on failed first; look at that call.",
    ),
    F.PLAN_INVALID: FailureRow(
        "plan",
        "the plan is asked again with its problems, `orchestrator.plan_tries` times; "
        "then the rules planner plans",
        "The model could not plan and the rules planner was off: set "
        "orchestrator.rules_planner: true, or take a larger model.",
    ),
    F.PLAN_REPEATED: FailureRow(
        "plan",
        "the same as for an invalid plan: a plan that failed is never run again",
        "The orchestrator repeated a failed plan: say more in the goal, or take a larger model.",
    ),
    F.EVALUATOR_REJECTED: FailureRow(
        "call",
        "another turn, whose prompt has the verdict",
        "The result did not pass its checks; the log names them.",
    ),
    F.FILES_MISSING: FailureRow(
        "run",
        "another turn while there are turns and progress; then the run has failed",
        "Some files were not made: the calls that failed say why; go on with `familiar run "
        "--session SESSION`.",
    ),
    F.BUDGET_EXHAUSTED: FailureRow(
        "run",
        "the run ends with the files written so far",
        "A budget of the configuration is spent: raise it, or split the goal.",
    ),
    F.CANCELLED: FailureRow(
        "person",
        "the run ends; no call is attempted again",
        "It was cancelled; go on with `familiar run --session SESSION`.",
    ),
}

PROBED = frozenset(cause for cause, row in FAILURES.items() if row.probed)
"""Classes that say something about a backend, and may be wrong about it."""


def blamed_on(blame: Blame) -> frozenset[F]:
    """The classes that `blame` is the cause of."""
    return frozenset(cause for cause, row in FAILURES.items() if row.blame == blame)
