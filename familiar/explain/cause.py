"""The closed list of causes that an explanation can name, each before those that it explains.

A failure class says how one attempt ended; a cause says why. A cause is finer where a person needs
a difference that recovery does not need. The order is from the root outwards: of two causes that
decided a run's end, the higher one led to the other. `README.md` beside this file has the same list
with the evidence for each.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from familiar.failure import FAILURES


class Cause(StrEnum):
    """Why a run failed or was slow. The value is stable; names of failure classes are kept
    where the cause is as wide as the class."""

    CANCELLED = "cancelled"
    BUDGET_TURNS = "budget_turns"
    BUDGET_MODEL_CALLS = "budget_model_calls"
    BUDGET_TOKENS = "budget_tokens"
    BUDGET_OUTPUT_TOKENS = "budget_output_tokens"
    BUDGET_WALL = "budget_wall_s"
    BUDGET_RECOVERIES = "budget_recoveries"
    BUDGET_MONEY = "budget_money"
    BUDGET_OTHER = "budget_exhausted"
    NODE_LOST = "node_lost"
    WORKSPACE_FAILED = "workspace_failed"
    MODEL_UNKNOWN = "model_unknown"
    KEY_REFUSED = "key_refused"
    ALIAS_REMOVED = "alias_removed"
    BACKEND_REFUSED = "backend_refused"
    BACKEND_FLAPPING = "backend_flapping"
    BACKEND_DIED = "backend_died"
    BACKEND_UNREACHABLE = "backend_unreachable"
    BACKEND_LOADING = "backend_loading"
    BACKEND_OVERLOADED = "backend_overloaded"
    STREAM_CUT = "stream_cut"
    BACKEND_STALLED = "backend_stalled"
    BACKEND_SLOW = "backend_slow"
    CONTEXT_OVERFLOW = "context_overflow"
    CALL_OVERSIZED = "call_oversized"
    CALL_TRUNCATED = "call_truncated"
    QUEUE_TIMEOUT = "queue_timeout"
    WORKBENCH_LOST = "workbench_lost"
    WIRE_NESTED = "wire_nested"
    PLAN_REPEATED = "plan_repeated"
    WIRE_MALFORMED = "wire_malformed"
    PLAN_INVALID = "plan_invalid"
    OUTPUT_INVALID = "output_invalid"
    TOOL_FAILED = "tool_failed"
    GUARD_BLOCKED = "guard_blocked"
    EVALUATOR_REJECTED = "evaluator_rejected"
    DEPENDENCY_FAILED = "dependency_failed"
    FILES_MISSING = "files_missing"
    INTERNAL = "internal"
    QUEUE_WAIT = "queue_wait"
    NOTHING_WRONG = "nothing_wrong"


ORDER: dict[Cause, int] = {cause: place for place, cause in enumerate(Cause)}
"""The place of each cause in the list."""


class CauseText(NamedTuple):
    """`says` is the cause in one sentence, `change` what a person can do about it in general."""

    says: str
    change: str


TEXTS: dict[Cause, CauseText] = {
    Cause(name): CauseText(row.says, row.advice) for name, row in FAILURES.items()
} | {
    Cause.BUDGET_TURNS: CauseText(
        "The orchestrator used up its turns before the goal was met.",
        "Raise budgets.turns, or name the files to make, so that the run can tell when the goal is "
        "met.",
    ),
    Cause.BUDGET_MODEL_CALLS: CauseText(
        "The run used up its model calls.",
        "Raise budgets.model_calls, or plan fewer calls (orchestrator.max_calls_per_turn).",
    ),
    Cause.BUDGET_TOKENS: CauseText(
        "Prompts and answers used up the run's tokens.",
        "Raise budgets.tokens, or pass less text between calls.",
    ),
    Cause.BUDGET_OUTPUT_TOKENS: CauseText(
        "The answers used up the run's output tokens.",
        "Raise budgets.output_tokens, or lower sampling.max_tokens of the alias that writes most.",
    ),
    Cause.BUDGET_WALL: CauseText(
        "The run used up its wall-clock time.",
        "Raise budgets.wall_s, or shorten the critical path: more replicas, smaller calls.",
    ),
    Cause.BUDGET_RECOVERIES: CauseText(
        "The failed attempts used up the run's recoveries.",
        "Fix the failures below first; a higher budgets.recoveries only repeats them.",
    ),
    Cause.BUDGET_MONEY: CauseText(
        "The calls used up the run's money.",
        "Raise budgets.money, or move an alias to a pool without a price.",
    ),
    Cause.NODE_LOST: CauseText(
        "The node that held the replica is gone.",
        "Bring the node back, or give the pool a replica on another node "
        "(pools.POOL.replicas.N.node).",
    ),
    Cause.MODEL_UNKNOWN: CauseText(
        "The server does not serve the model that the pool names.",
        "Set pools.POOL.model to a name that the server lists at /v1/models.",
    ),
    Cause.KEY_REFUSED: CauseText(
        "The server rejects the key.",
        "Set the variable that pools.POOL.api_key_env names.",
    ),
    Cause.BACKEND_FLAPPING: CauseText(
        "The replica was lost and came back several times.",
        "Check the engine's log on that device (memory, driver); until then take the replica out "
        "of pools.POOL.replicas.",
    ),
    Cause.BACKEND_DIED: CauseText(
        "The backend had served calls, and then died.",
        "The engine's log says why it ended; a second replica in pools.POOL.replicas would have "
        "taken over.",
    ),
    Cause.BACKEND_LOADING: CauseText(
        "The server was not up yet: it was still loading its model.",
        "Run again when the server is up, or raise aliases.ALIAS.deadline_s and "
        "first_token_deadline_s to the time that it needs.",
    ),
    Cause.BACKEND_OVERLOADED: CauseText(
        "The server rejects requests because it has too many.",
        "Lower pools.POOL.slots to the number of requests that the server accepts at once.",
    ),
    Cause.STREAM_CUT: CauseText(
        "The connection broke during an answer; the backend is still up.",
        "Check the network path: read timeout of a proxy, load balancer, network.",
    ),
    Cause.WIRE_NESTED: CauseText(
        "The orchestrator wrote a whole plan inside one argument of a call.",
        "Take a larger model for the orchestrator, or another wire (aliases.ALIAS.wire).",
    ),
    Cause.QUEUE_WAIT: CauseText(
        "Calls waited for a free slot during a large part of the run.",
        "Add replicas or slots to pools.POOL, or raise the alias's parallel limit.",
    ),
    Cause.NOTHING_WRONG: CauseText(
        "Nothing went wrong.",
        "",
    ),
}
"""The words of each cause: those of its failure class, or its own where it is finer."""
