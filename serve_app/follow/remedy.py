"""What a person can do about a failure, by its class: one sentence each."""

from __future__ import annotations

from collections.abc import Mapping

from familiar.errors import FailureClass

REMEDIES: Mapping[FailureClass, str] = {
    FailureClass.BACKEND_UNREACHABLE: (
        "Look at the pool with `familiar pools`; a remote engine must be up at its URL."
    ),
    FailureClass.BACKEND_REFUSED: (
        "Read the engine's own words above: the model's name, the key or a limit is not what it "
        "expects."
    ),
    FailureClass.BACKEND_SLOW: (
        "Give the alias a longer first_token_deadline_s, or the pool another replica."
    ),
    FailureClass.BACKEND_STALLED: (
        "The engine fell silent: look at its log, or give the alias a longer stall_deadline_s."
    ),
    FailureClass.CALL_OVERSIZED: (
        "The answer was too long for its deadline: ask for less in one file, or raise the "
        "alias's deadline_s."
    ),
    FailureClass.CALL_TRUNCATED: (
        "The answer reached sampling.max_tokens: raise it, or ask for less in one file."
    ),
    FailureClass.QUEUE_TIMEOUT: (
        "Everything was busy for too long: add a replica or slots, or raise queue_deadline_s."
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
    FailureClass.GUARD_BLOCKED: "A guard refused this on purpose; its reason is in the log.",
    FailureClass.WORKSPACE_FAILED: (
        "Look at the workspace: is there room, may this user write, is git well?"
    ),
    FailureClass.WORKBENCH_LOST: (
        "A process was lost with the call; run it again, and look at `familiar pools` if it "
        "repeats."
    ),
    FailureClass.DEPENDENCY_FAILED: (
        "Something it depends on failed first; that is what to look at."
    ),
    FailureClass.PLAN_INVALID: (
        "The model could not plan and the rules planner was off: set "
        "orchestrator.rules_planner: true, or take a larger model."
    ),
    FailureClass.PLAN_REPEATED: (
        "The orchestrator planned the same again: say more in the goal, or take a larger model."
    ),
    FailureClass.BUDGET_EXHAUSTED: (
        "A budget of the configuration is spent: raise it, or split the goal."
    ),
    FailureClass.EVALUATOR_REJECTED: "What was made did not pass its checks; the log says which.",
    FailureClass.FILES_MISSING: (
        "Some files were not made: the calls that failed say why; go on with `familiar run "
        "--session SESSION`."
    ),
    FailureClass.CANCELLED: "It was cancelled; go on with `familiar run --session SESSION`.",
    FailureClass.INTERNAL: "This is a defect of familiar: please report it with the log.",
}


def remedy_of(failure_class: str | None, *, run: str, session: str) -> str:
    """The sentence for this run, or nothing for a class that is not known."""
    try:
        found = REMEDIES[FailureClass(failure_class or "")]
    except ValueError:
        return ""
    return found.replace(" RUN ", f" {run} ").replace("SESSION", session)
