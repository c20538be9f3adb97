"""Everything that depends on a failure class, one row a class.

A row names the blame, the recovery of an attempt that failed so (or, for classes of plans, turns
and runs, the consequence), the sentence and the advice for a person, and the use of the class in
probes, rates and explanations. Nothing else in the code keeps a table by failure class: a new class
is a member of `FailureClass` and a row here.

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
    class, otherwise a sentence that says what follows. `says` names the class as a cause, `advice`
    the remedy; the words in capitals stand for names of the run.

    `probed`: the class says something about a backend and may be wrong, so the backend is checked
    at once. `counted`: such a failure uses up the budgets of attempts and recoveries. `produced`
    is False for a class that only histories of older versions hold. `flowed`: tokens came until the
    end, so the attempt measures the rate of its pool. `timed`: deadlines give the class, and an
    explanation weighs it against the figures. `direct`: the class is the cause. `follows`: another
    failure led to it. `finer` are the causes of `familiar.explain.cause` that agree with the class
    beside the one of its name."""

    blame: Blame
    reaction: Recovery | str
    says: str
    advice: str
    probed: bool = False
    counted: bool = True
    produced: bool = True
    flowed: bool = False
    timed: bool = False
    direct: bool = False
    follows: bool = False
    finer: tuple[str, ...] = ()


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
        "Cannot connect to the backend.",
        "Start the server, or correct pools.POOL.replicas.N.url; `familiar pools` shows the pool.",
        probed=True,
        timed=True,
        finer=(
            "node_lost",
            "backend_flapping",
            "backend_died",
            "backend_loading",
            "backend_overloaded",
            "stream_cut",
        ),
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
        "The backend stopped sending tokens during an answer.",
        "Check the engine for a hung kernel or a stopped process; stall_deadline_s limits the time "
        "without tokens.",
        probed=True,
        timed=True,
    ),
    F.BACKEND_SLOW: FailureRow(
        "backend",
        Recovery(
            "retry_elsewhere", 1, "give_up", "the replica is far below its usual rate", "continued"
        ),
        "The backend decodes far below its usual rate.",
        "Check for other programs on the device or the connection; add a replica to pools.POOL, or "
        "raise the alias's deadline_s or first_token_deadline_s.",
        probed=True,
        timed=True,
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
        "The server rejects the request.",
        "Read the server's message: it rejects the model's name, the key or a limit. Correct "
        "pools.POOL.engine_args or the sampling of the alias.",
        probed=True,
        finer=("model_unknown", "key_refused"),
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
        "The process that ran the call was lost.",
        "The call itself is not the cause; if it repeats, check the memory of the node.",
        counted=False,
        produced=False,
        direct=True,
        finer=("node_lost",),
    ),
    F.QUEUE_TIMEOUT: FailureRow(
        "run",
        Recovery(
            "retry", 1, "give_up", "no slot was free in time; one may be free now", "asked to split"
        ),
        "Calls waited too long for a slot: the pool was full.",
        "Add replicas or slots to pools.POOL, plan fewer calls at once, or raise the alias's "
        "queue_deadline_s.",
    ),
    F.CALL_OVERSIZED: FailureRow(
        "call",
        Recovery(
            "continue",
            2,
            "split",
            "tokens flowed until the deadline",
            "restarted from the beginning",
        ),
        "One call was asked to write more than its deadline allows at this backend's usual rate.",
        "Plan smaller calls (orchestrator.prompt: v2 tells the orchestrator the limits), or raise "
        "the alias's deadline_s.",
        probed=True,
        flowed=True,
        timed=True,
    ),
    F.CALL_TRUNCATED: FailureRow(
        "call",
        Recovery("continue", 2, "split", "max_tokens cut the answer", "published as it is"),
        "The answer reached its token limit and was cut.",
        "Raise aliases.ALIAS.sampling.max_tokens, or ask for less in one file.",
        probed=True,
        flowed=True,
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
        "The prompt does not fit into the model's context.",
        "Raise pools.POOL.context_length, or pass less text to the call (needs, depends_on).",
        probed=True,
    ),
    F.WIRE_MALFORMED: FailureRow(
        "call",
        Recovery("ask_again", 2, "give_up", "the answer could not be read", "guessed at"),
        "The model's answer cannot be read in the expected form.",
        "See the answer with `familiar calls RUN CALL`; another wire, a lower temperature or a "
        "larger model helps.",
        direct=True,
        finer=("wire_nested",),
    ),
    F.OUTPUT_INVALID: FailureRow(
        "call",
        Recovery(
            "ask_again", 2, "give_up", "the document does not pass its checks", "published as it is"
        ),
        "The documents that the model writes are not valid.",
        "See them with `familiar calls RUN CALL`; contract.grammar: true keeps small models to the "
        "form.",
        direct=True,
        finer=("wire_nested",),
    ),
    F.TOOL_FAILED: FailureRow(
        "call",
        Recovery("ask_again", 1, "give_up", "a tool failed", "hidden from the model"),
        "A tool failed.",
        "Its result is in `familiar calls RUN CALL`.",
        direct=True,
    ),
    F.GUARD_BLOCKED: FailureRow(
        "call",
        Recovery("give_up", 0, "give_up", "a guard blocked the call", "attempted again"),
        "A guard blocked the call.",
        "The log has the reason.",
        direct=True,
    ),
    F.ALIAS_REMOVED: FailureRow(
        "person",
        Recovery(
            "give_up", 0, "give_up", "the configuration has no such alias now", "attempted again"
        ),
        "The configuration was changed during the run and lacks the alias of a call.",
        "Run it again, or put the alias back; the next plan uses the aliases that are there.",
        direct=True,
    ),
    F.WORKSPACE_FAILED: FailureRow(
        "run",
        Recovery(
            "retry", 1, "give_up", "the file could not be written; there may be room again", "moved"
        ),
        "A file could not be written or committed.",
        "Check the workspace: free space, write permission, state of the git repository.",
        direct=True,
    ),
    F.INTERNAL: FailureRow(
        "run",
        Recovery("retry", 1, "give_up", "an unexpected error; it may not repeat", "hidden"),
        "An internal error of familiar.",
        "This is a defect of familiar: please report it with the log.",
        direct=True,
    ),
    F.DEPENDENCY_FAILED: FailureRow(
        "plan",
        "the call is skipped (`call.skipped`); the next plan sees the cause",
        "A call was skipped because a call that it depends on failed.",
        "Look at the call that it depends on.",
        follows=True,
    ),
    F.PLAN_INVALID: FailureRow(
        "plan",
        "the plan is asked again with its problems, `orchestrator.plan_tries` times; then the "
        "rules planner plans",
        "The orchestrator's plans can be read, but break a rule.",
        "Set orchestrator.rules_planner: true, or take a larger model for the orchestrator.",
    ),
    F.PLAN_REPEATED: FailureRow(
        "plan",
        "the same as for an invalid plan: a plan that failed is never run again",
        "The orchestrator repeated a plan, or a call, that had failed.",
        "Describe another way in the goal, or take a larger model for the orchestrator.",
    ),
    F.EVALUATOR_REJECTED: FailureRow(
        "call",
        "another turn, whose prompt has the verdict",
        "The result did not pass its checks.",
        "The log names the checks.",
        direct=True,
    ),
    F.FILES_MISSING: FailureRow(
        "run",
        "another turn while there are turns and progress; then the run has failed",
        "Files that the goal names were never made.",
        "The calls that failed say why; go on with `familiar run --session SESSION`, and name the "
        "files.",
        follows=True,
    ),
    F.BUDGET_EXHAUSTED: FailureRow(
        "run",
        "the run ends with the files written so far",
        "A budget of the run is used up.",
        "Raise the budget that the run's reason names, or split the goal.",
    ),
    F.CANCELLED: FailureRow(
        "person",
        "the run ends; no call is attempted again",
        "The run was cancelled.",
        "Go on with `familiar run --session SESSION`.",
    ),
}


def blamed_on(blame: Blame) -> frozenset[F]:
    """The classes that `blame` is the cause of."""
    return frozenset(cause for cause, row in FAILURES.items() if row.blame == blame)


_PASSING_STATUSES = frozenset({408, 421, 425, 429, 440, 460, 499})


def class_of_status(status: int) -> F:
    """The class of an HTTP error status, 400 or above. A client error is the server's considered
    no: the same request will get it again. The passing ones (overload, a connection that is not the
    right one, a proxy that gave up) and server errors say nothing about the request, so another
    attempt, or another replica, may succeed."""
    if 400 <= status < 500 and status not in _PASSING_STATUSES:
        return F.BACKEND_REFUSED
    return F.BACKEND_UNREACHABLE
