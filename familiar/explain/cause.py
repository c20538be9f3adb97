"""The closed list of causes that an explanation can name, each before those that it explains.

A failure class says how one try ended; a cause says why, and is finer where recovery does not need
the difference and a person does. The order is from the root outwards: where two causes decided a
run's end, the one that stands higher made the other happen or likelier. `README.md` beside this
file has the same list with the evidence that each needs.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Cause(StrEnum):
    """Why a run failed, or what slowed it. The value is stable; names of failure classes are kept
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
        "Raise budgets.turns, or name the files to make so that the goal has an end.",
    ),
    Cause.BUDGET_MODEL_CALLS: CauseText(
        "The run made as many model calls as it may.",
        "Raise budgets.model_calls, or plan fewer calls (orchestrator.max_calls_per_turn).",
    ),
    Cause.BUDGET_TOKENS: CauseText(
        "Prompts and answers together used up the run's tokens.",
        "Raise budgets.tokens, or hand less on between calls.",
    ),
    Cause.BUDGET_OUTPUT_TOKENS: CauseText(
        "The answers used up the run's output tokens.",
        "Raise budgets.output_tokens, or lower sampling.max_tokens of the alias that writes most.",
    ),
    Cause.BUDGET_WALL: CauseText(
        "The run's wall-clock time was over.",
        "Raise budgets.wall_s, or shorten the critical path: more replicas, smaller calls.",
    ),
    Cause.BUDGET_RECOVERIES: CauseText(
        "So many tries failed that the run may not recover again.",
        "Look at the failures below first; budgets.recoveries only decides how long they go on.",
    ),
    Cause.BUDGET_MONEY: CauseText(
        "The pools that have a price used up the run's money.",
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
        "Look at the workspace: is there room, may this user write, is git well?",
    ),
    Cause.MODEL_UNKNOWN: CauseText(
        "The server does not serve the model that the pool names.",
        "Put a name that the server lists at /v1/models into pools.POOL.model.",
    ),
    Cause.KEY_REFUSED: CauseText(
        "The server refuses the key.", "Set the variable that pools.POOL.api_key_env names."
    ),
    Cause.BACKEND_REFUSED: CauseText(
        "The server understood the request and refuses it.",
        "Read the server's words in the evidence; pools.POOL.engine_args or sampling is not what "
        "it takes.",
    ),
    Cause.BACKEND_FLAPPING: CauseText(
        "The replica goes away and comes back, again and again.",
        "Look at the engine's own log on that device (memory, driver); until then take the "
        "replica out of pools.POOL.replicas.",
    ),
    Cause.BACKEND_DIED: CauseText(
        "The backend had been serving, and died.",
        "Look at the engine's own log for the reason of its end; a second replica in "
        "pools.POOL.replicas would have taken over.",
    ),
    Cause.BACKEND_UNREACHABLE: CauseText(
        "Nobody answers where the backend should be.",
        "Start the server, or correct pools.POOL.replicas.N.url.",
    ),
    Cause.BACKEND_OVERLOADED: CauseText(
        "The server turns requests away because it has too many.",
        "Lower pools.POOL.slots to what the server takes at once.",
    ),
    Cause.STREAM_CUT: CauseText(
        "The connection broke in the middle of an answer, while the backend lives.",
        "Look at what stands between: a proxy's read timeout, a load balancer, the network.",
    ),
    Cause.BACKEND_STALLED: CauseText(
        "The backend fell silent in the middle of its work.",
        "Look at the engine: a hung kernel, a stopped process; stall_deadline_s decides how long "
        "silence is borne.",
    ),
    Cause.BACKEND_SLOW: CauseText(
        "The backend decodes far below its usual rate.",
        "Look at who shares the device or the connection; add a replica to pools.POOL, or raise "
        "the alias's deadline_s.",
    ),
    Cause.CONTEXT_OVERFLOW: CauseText(
        "The prompt does not fit into the model's context.",
        "Raise pools.POOL.context_length, or hand less to the call (needs, depends_on).",
    ),
    Cause.CALL_OVERSIZED: CauseText(
        "One call was asked to write more than its deadline allows at this backend's usual rate.",
        "Plan smaller calls (orchestrator.prompt: v2 tells the orchestrator what fits), or raise "
        "the alias's deadline_s.",
    ),
    Cause.CALL_TRUNCATED: CauseText(
        "The answer was cut by its token limit.",
        "Raise aliases.ALIAS.sampling.max_tokens, or ask for less in one file.",
    ),
    Cause.QUEUE_TIMEOUT: CauseText(
        "Calls waited for a slot for too long: the pool was full.",
        "Add replicas or slots to pools.POOL, plan fewer calls at once, or raise the alias's "
        "queue_deadline_s.",
    ),
    Cause.WORKBENCH_LOST: CauseText(
        "The process that carried the call out was lost.",
        "Nothing is wrong with the call; look at memory on the node if it repeats.",
    ),
    Cause.WIRE_NESTED: CauseText(
        "The orchestrator wrote a whole plan inside one argument of a call.",
        "Take a larger model for the orchestrator, or another wire (aliases.ALIAS.wire).",
    ),
    Cause.PLAN_REPEATED: CauseText(
        "The orchestrator planned again what had already failed.",
        "Say in the goal what should be done differently, or take a larger model for the "
        "orchestrator.",
    ),
    Cause.WIRE_MALFORMED: CauseText(
        "The model's answer cannot be read as what was asked for.",
        "See the answer with `familiar calls RUN CALL`; another wire, a lower temperature or a "
        "larger model helps.",
    ),
    Cause.PLAN_INVALID: CauseText(
        "The orchestrator's plans read well and must not run.",
        "Set orchestrator.rules_planner: true, or take a larger model for the orchestrator.",
    ),
    Cause.OUTPUT_INVALID: CauseText(
        "The documents that the model writes are not valid.",
        "See them with `familiar calls RUN CALL`; contract.grammar: true holds small models to "
        "the form.",
    ),
    Cause.TOOL_FAILED: CauseText("A tool failed.", "Its result is in `familiar calls RUN CALL`."),
    Cause.GUARD_BLOCKED: CauseText("A guard refused this on purpose.", "Its reason is in the log."),
    Cause.EVALUATOR_REJECTED: CauseText(
        "What was made did not pass its checks.", "The log says which."
    ),
    Cause.DEPENDENCY_FAILED: CauseText(
        "A call was never tried, because what it depends on failed.",
        "Look at the call it depends on.",
    ),
    Cause.FILES_MISSING: CauseText(
        "Files that the goal names were never made.",
        "Go on with `familiar run --session SESSION`, and name them.",
    ),
    Cause.INTERNAL: CauseText(
        "familiar itself broke.", "This is a defect of familiar: please report it with the log."
    ),
    Cause.QUEUE_WAIT: CauseText(
        "Calls waited for a free slot for a good part of the run.",
        "Add replicas or slots to pools.POOL, or raise the alias's parallel limit.",
    ),
    Cause.NOTHING_WRONG: CauseText("Nothing went wrong.", ""),
}
