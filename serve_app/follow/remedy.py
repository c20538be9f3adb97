"""Advice about a failure, by its class: one sentence each."""

from __future__ import annotations

from collections.abc import Mapping

from familiar.errors import FailureClass

REMEDIES: Mapping[FailureClass, str] = {
    FailureClass.BACKEND_UNREACHABLE: (
        "Look at the pool with `familiar pools`; a remote engine must be up at its URL."
    ),
    FailureClass.BACKEND_REFUSED: (
        "Read the engine's message above: the model's name, the key or a limit is wrong."
    ),
    FailureClass.BACKEND_SLOW: (
        "Give the alias a longer first_token_deadline_s, or the pool another replica."
    ),
    FailureClass.BACKEND_STALLED: (
        "The engine stopped sending tokens: read its log, or raise the alias's stall_deadline_s."
    ),
    FailureClass.CALL_OVERSIZED: (
        "The answer was too long for its deadline: ask for less in one file, or raise the "
        "alias's deadline_s."
    ),
    FailureClass.CALL_TRUNCATED: (
        "The answer reached sampling.max_tokens: raise it, or ask for less in one file."
    ),
    FailureClass.QUEUE_TIMEOUT: (
        "All replicas were busy for too long: add a replica or slots, or raise queue_deadline_s."
    ),
    FailureClass.CONTEXT_OVERFLOW: (
        "The prompt does not fit: shorten the goal, or raise the pool's context_length."
    ),
    FailureClass.WIRE_MALFORMED: (
        "The model's answer could not be read: see it with `familiar calls RUN CALL`; a larger "
        "model or lower temperature helps."
    ),
    FailureClass.OUTPUT_INVALID: (
        "The document was not valid: see it with `familiar calls RUN CALL`."
    ),
    FailureClass.TOOL_FAILED: "A tool failed: its result is in `familiar calls RUN CALL`.",
    FailureClass.GUARD_BLOCKED: "A guard blocked this; the log has its reason.",
    FailureClass.WORKSPACE_FAILED: (
        "Check the workspace: free space, write permission, the state of its git repository."
    ),
    FailureClass.WORKBENCH_LOST: (
        "The process that ran the call died; submit the goal again, and check `familiar pools` "
        "if it happens again."
    ),
    FailureClass.DEPENDENCY_FAILED: ("A call that it depends on failed first; look at that call."),
    FailureClass.PLAN_INVALID: (
        "The model made no valid plan and the rules planner is off: set "
        "orchestrator.rules_planner: true, or take a larger model."
    ),
    FailureClass.PLAN_REPEATED: (
        "The orchestrator repeated its plan: give more detail, or use a larger model."
    ),
    FailureClass.BUDGET_EXHAUSTED: (
        "A budget of the configuration is used up: raise it, or split the goal."
    ),
    FailureClass.EVALUATOR_REJECTED: "The result did not pass its checks; the log names them.",
    FailureClass.FILES_MISSING: (
        "Some files were not made; the failed calls say why. Continue with `familiar run "
        "--session SESSION`."
    ),
    FailureClass.CANCELLED: "Cancelled. Continue with `familiar run --session SESSION`.",
    FailureClass.INTERNAL: "This is a bug in familiar: please report it with the log.",
}


def remedy_of(failure_class: str | None, *, run: str, session: str) -> str:
    """The sentence for this run, or nothing for a class that is not known."""
    try:
        found = REMEDIES[FailureClass(failure_class or "")]
    except ValueError:
        return ""
    return found.replace(" RUN ", f" {run} ").replace("SESSION", session)
