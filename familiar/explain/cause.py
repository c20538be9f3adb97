"""The closed list of causes that an explanation can name, each before those that it explains.

A failure class says how one attempt ended; a cause says why. A cause is finer where a person needs
a difference that recovery does not need. The order is from the root outwards: of two causes that
decided a run's end, the higher one led to the other. `README.md` beside this file has the same list
with the evidence for each.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


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
    BACKEND_REFUSED = "backend_refused"
    BACKEND_FLAPPING = "backend_flapping"
    BACKEND_DIED = "backend_died"
    BACKEND_UNREACHABLE = "backend_unreachable"
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
    Cause.CANCELLED: CauseText(
        "Somebody cancelled the run.", "Go on with `familiar run --session SESSION`."
    ),
    Cause.BUDGET_TURNS: CauseText(
        "The orchestrator used up its turns before the goal was met.",
        "Raise budgets.turns, or name the files to make, so that the run can tell when the goal "
        "is met.",
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
    Cause.BUDGET_OTHER: CauseText(
        "A budget of the run is used up.", "Raise the budget that the run's reason names."
    ),
    Cause.NODE_LOST: CauseText(
        "The node that held the replica is gone.",
        "Bring the node back, or give the pool a replica on another node "
        "(pools.POOL.replicas.N.node).",
    ),
    Cause.WORKSPACE_FAILED: CauseText(
        "A file could not be written or committed.",
        "Check the workspace: free space, write permission, state of the git repository.",
    ),
    Cause.MODEL_UNKNOWN: CauseText(
        "The server does not serve the model that the pool names.",
        "Set pools.POOL.model to a name that the server lists at /v1/models.",
    ),
    Cause.KEY_REFUSED: CauseText(
        "The server rejects the key.", "Set the variable that pools.POOL.api_key_env names."
    ),
    Cause.BACKEND_REFUSED: CauseText(
        "The server rejects the request.",
        "Read the server's message in the evidence; correct pools.POOL.engine_args or the "
        "sampling of the alias.",
    ),
    Cause.BACKEND_FLAPPING: CauseText(
        "The replica was lost and came back several times.",
        "Check the engine's log on that device (memory, driver); until then take the "
        "replica out of pools.POOL.replicas.",
    ),
    Cause.BACKEND_DIED: CauseText(
        "The backend had served calls, and then died.",
        "The engine's log says why it ended; a second replica in "
        "pools.POOL.replicas would have taken over.",
    ),
    Cause.BACKEND_UNREACHABLE: CauseText(
        "Cannot connect to the backend.",
        "Start the server, or correct pools.POOL.replicas.N.url.",
    ),
    Cause.BACKEND_OVERLOADED: CauseText(
        "The server rejects requests because it has too many.",
        "Lower pools.POOL.slots to the number of requests that the server accepts at once.",
    ),
    Cause.STREAM_CUT: CauseText(
        "The connection broke during an answer; the backend is still up.",
        "Check the network path: read timeout of a proxy, load balancer, network.",
    ),
    Cause.BACKEND_STALLED: CauseText(
        "The backend stopped sending tokens during an answer.",
        "Check the engine for a hung kernel or a stopped process; stall_deadline_s limits the "
        "time without tokens.",
    ),
    Cause.BACKEND_SLOW: CauseText(
        "The backend decodes far below its usual rate.",
        "Check for other programs on the device or the connection; add a replica to pools.POOL, or "
        "raise the alias's deadline_s.",
    ),
    Cause.CONTEXT_OVERFLOW: CauseText(
        "The prompt does not fit into the model's context.",
        "Raise pools.POOL.context_length, or pass less text to the call (needs, depends_on).",
    ),
    Cause.CALL_OVERSIZED: CauseText(
        "One call was asked to write more than its deadline allows at this backend's usual rate.",
        "Plan smaller calls (orchestrator.prompt: v2 tells the orchestrator the limits), or raise "
        "the alias's deadline_s.",
    ),
    Cause.CALL_TRUNCATED: CauseText(
        "The answer reached its token limit and was cut.",
        "Raise aliases.ALIAS.sampling.max_tokens, or ask for less in one file.",
    ),
    Cause.QUEUE_TIMEOUT: CauseText(
        "Calls waited too long for a slot: the pool was full.",
        "Add replicas or slots to pools.POOL, plan fewer calls at once, or raise the alias's "
        "queue_deadline_s.",
    ),
    Cause.WORKBENCH_LOST: CauseText(
        "The process that ran the call was lost.",
        "The call itself is not the cause; if it repeats, check the memory of the node.",
    ),
    Cause.WIRE_NESTED: CauseText(
        "The orchestrator wrote a whole plan inside one argument of a call.",
        "Take a larger model for the orchestrator, or another wire (aliases.ALIAS.wire).",
    ),
    Cause.PLAN_REPEATED: CauseText(
        "The orchestrator repeated a plan, or a call, that had failed.",
        "Describe another way in the goal, or take a larger model for the orchestrator.",
    ),
    Cause.WIRE_MALFORMED: CauseText(
        "The model's answer cannot be read in the expected form.",
        "See the answer with `familiar calls RUN CALL`; another wire, a lower temperature or a "
        "larger model helps.",
    ),
    Cause.PLAN_INVALID: CauseText(
        "The orchestrator's plans can be read, but break a rule.",
        "Set orchestrator.rules_planner: true, or take a larger model for the orchestrator.",
    ),
    Cause.OUTPUT_INVALID: CauseText(
        "The documents that the model writes are not valid.",
        "See them with `familiar calls RUN CALL`; contract.grammar: true keeps small models to "
        "the form.",
    ),
    Cause.TOOL_FAILED: CauseText("A tool failed.", "Its result is in `familiar calls RUN CALL`."),
    Cause.GUARD_BLOCKED: CauseText("A guard blocked the call.", "The log has the reason."),
    Cause.EVALUATOR_REJECTED: CauseText(
        "The result did not pass its checks.", "The log names the checks."
    ),
    Cause.DEPENDENCY_FAILED: CauseText(
        "A call was skipped because a call that it depends on failed.",
        "Look at the call that it depends on.",
    ),
    Cause.FILES_MISSING: CauseText(
        "Files that the goal names were never made.",
        "Go on with `familiar run --session SESSION`, and name them.",
    ),
    Cause.INTERNAL: CauseText(
        "An internal error of familiar.",
        "This is a defect of familiar: please report it with the log.",
    ),
    Cause.QUEUE_WAIT: CauseText(
        "Calls waited for a free slot during a large part of the run.",
        "Add replicas or slots to pools.POOL, or raise the alias's parallel limit.",
    ),
    Cause.NOTHING_WRONG: CauseText("Nothing went wrong.", ""),
}
