"""The messages of a plan call: a frozen system prompt, then an append-only stack.

Each prompt of a run is the one before, with the model's answer and one new message behind it, so
that an engine's prefix cache serves everything that was there already. Only when the stack outgrows
the alias's window is it begun anew, with the goal and where things stand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from familiar.engine import Message
from familiar.event import Problem
from familiar.plan.view import CONTRACT_FILE, EarlierCall, Role, TurnView
from familiar.prompts.prompt import load_prompt

CHARS_PER_TOKEN = 3.0
"""A careful estimate: English prose and JSON have 3.5 to 4.5 characters a token in BPE
vocabularies."""
MAX_FAILURE_CHARS = 300


def build_orchestrator_system_prompt(view: TurnView, name: str = "orchestrator/v2") -> str:
    """The system prompt for the roles that are enabled. It does not change within a run."""
    rule = ""
    if view.shares_parts and len(view.goal.pages) > 1:
        rule = load_prompt("orchestrator/contract-rule").render(contract_file=CONTRACT_FILE) + "\n"
    return load_prompt(name).render(
        contract_rule=rule, roles="\n".join(_role_line(role) for role in view.roles)
    )


def first_messages(view: TurnView, name: str = "orchestrator/v2") -> tuple[Message, ...]:
    """The stack at the start of a run, or where it is begun anew."""
    text = load_prompt("orchestrator/goal").render(
        goal=view.goal.text.strip(), state=_state(view), turn=str(view.turn)
    )
    system = Message("system", build_orchestrator_system_prompt(view, name))
    return (system, Message("user", text))


def anew(view: TurnView, name: str) -> tuple[Message, ...]:
    """The stack begun anew in a later turn: the goal, and what the calls so far have made."""
    start = first_messages(view, name)
    return start if not view.earlier else (*start[:-1], _joined(start[-1], results_message(view)))


def schema_json(schema: Mapping[str, JsonValue]) -> str:
    """The schema as text, the same bytes for the same schema."""
    return json.dumps(schema, sort_keys=True, separators=(",", ":"))


def goal_message(view: TurnView) -> Message:
    """A new goal on top of a session's stack."""
    text = load_prompt("orchestrator/goal").render(
        goal=view.goal.text.strip(), state=_state(view), turn=str(view.turn)
    )
    return Message("user", text)


def results_message(view: TurnView) -> Message:
    """What the calls of earlier turns made, at the head of a later turn."""
    text = load_prompt("orchestrator/results").render(
        results="\n".join(call_line(call) for call in view.earlier) or "none",
        state=_state(view),
        turn=str(view.turn),
    )
    return Message("user", text)


def rejected_message(view: TurnView, problems: Sequence[Problem]) -> Message:
    """Why the plan before was refused."""
    text = load_prompt("orchestrator/rejected").render(
        problems="\n".join(f"- {problem.message}" for problem in problems),
        state=_state(view),
        turn=str(view.turn),
    )
    return Message("user", text)


def fits(messages: Sequence[Message], *, window_tokens: int) -> bool:
    """Whether the stack is safely within `window_tokens`, by the estimate above."""
    return sum(len(message.content) for message in messages) / CHARS_PER_TOKEN < window_tokens


def call_line(call: EarlierCall) -> str:
    """One call in one line: id, role, what it made or why it failed."""
    made = f" made {call.output_file}" if call.output_file and call.status == "done" else ""
    why = f": {call.failure[:MAX_FAILURE_CHARS]}" if call.failure else ""
    advice = f". To do: {call.advice}" if call.advice else ""
    return f"- {call.id} ({call.alias}) {call.status}{made}{why}{advice}"


def _joined(first: Message, second: Message) -> Message:
    return Message(first.role, f"{first.content}\n\n{second.content}")


def _role_line(role: Role) -> str:
    about = f": {role.description}" if role.description else ""
    writes = "writes one file" if role.mode == "output_file" else "answers in text"
    return (
        f"- {role.alias}{about} ({writes}, {role.parallel} at once, {role.deadline_s:g} s a call, "
        f"at most {role.max_tokens} tokens)"
    )


def _state(view: TurnView) -> str:
    made = [name for name in view.made if name != CONTRACT_FILE]
    lines = []
    if view.missing:
        lines.append(f"Files still to be written: {', '.join(view.missing)}.")
    if made:
        lines.append(f"Files that are there: {', '.join(made)}.")
    if view.shares_parts and CONTRACT_FILE in view.made:
        lines.append("The shared parts are there.")
    lines += view.notices
    return "\n".join(lines)
