"""The orchestrator's system prompt, built from the pools it plans for.

`v2` is composed: the form of a plan in the wire that is in use, the rules, the roles that are
enabled with their limits, and the decomposition patterns that these roles can carry out. It holds
nothing that moves, so it is frozen between two compactions of the stack. `v1` is one fixed text
without any of this, as the field study began; it stays selectable so that the two can be compared.
"""

from __future__ import annotations

from familiar.plan.view import CONTRACT_FILE, PoolState, Role
from familiar.prompts.prompt import Composed, composed_version, load_prompt

_MESSAGES = [
    "goal",
    "turn",
    "load",
    "results",
    "rejected",
    "contract",
    "artifacts",
    "rules-planned",
    "repaired",
    "question",
    "answered",
    "summary",
    "no-answer",
]
_PARTS = [
    "form-json",
    "form-tags",
    "contract-rule",
    "pattern/contract-first",
    "pattern/interface-first",
    "pattern/split",
    "pattern/review",
    "pattern/translate",
]


def build_orchestrator_system_prompt(
    pool_state: PoolState, name: str = "orchestrator/v2"
) -> Composed:
    """The system prompt called `name`. Its version covers every part that a plan prompt can have,
    used or not, so equal versions mean equal wording."""
    prompt = load_prompt(name)
    parts = [load_prompt(f"orchestrator/{part}") for part in (*_MESSAGES, *_PARTS)]
    parts.insert(0, load_prompt("recovery/again"))
    if not prompt.placeholders:
        version = composed_version([prompt, *parts[: len(_MESSAGES) + 1]])
        return Composed(name, version, prompt.text)
    text = prompt.render(
        form=_form(pool_state),
        contract_rule=_contract_rule(pool_state),
        roles="\n".join(_role_line(role) for role in pool_state.roles),
        patterns="\n".join(_patterns(pool_state)),
    )
    return Composed(name, composed_version([prompt, *parts]), text)


def _form(state: PoolState) -> str:
    if state.wire != "json":
        return load_prompt("orchestrator/form-tags").text
    return load_prompt("orchestrator/form-json").render(alias=state.generator)


def _contract_rule(state: PoolState) -> str:
    if not state.shares_parts:
        return ""
    return load_prompt("orchestrator/contract-rule").render(contract_file=CONTRACT_FILE) + "\n"


def _patterns(state: PoolState) -> list[str]:
    """Patterns that the enabled roles can carry out."""
    writer = state.generator
    if state.shares_parts:
        first = load_prompt("orchestrator/pattern/contract-first")
        patterns = [first.render(writer=writer, contract_file=CONTRACT_FILE)]
    else:
        patterns = [load_prompt("orchestrator/pattern/interface-first").render(writer=writer)]
    patterns.append(load_prompt("orchestrator/pattern/split").render(writer=writer))
    if state.reviewer is not None:
        patterns.append(load_prompt("orchestrator/pattern/review").render(reviewer=state.reviewer))
    if any(role.alias == "translator" for role in state.roles):
        translate = load_prompt("orchestrator/pattern/translate")
        patterns.append(translate.render(translator="translator"))
    return patterns


def _role_line(role: Role) -> str:
    about = f": {role.description}" if role.description else ""
    writes = "writes one file" if role.mode == "output_file" else "answers in text"
    return (
        f"- {role.alias}{about} ({writes}, {role.parallel} at once, {role.deadline_s:g} s a call, "
        f"at most {role.max_tokens} tokens, context {role.context_length})"
    )
