"""The task of a call that fills a slot under a contract: a page, the contract itself, a README.

With `contract.grammar` the structure is enforced while decoding, so a small model is only told what
to write about; without it the prompt says which form is wanted, and the answer is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from familiar.call import DocumentSpec
from familiar.config.schema import ContractConfig
from familiar.documents.html.contract import PALETTES, Contract, label, parse_contract
from familiar.documents.html.parts import requirements_for
from familiar.documents.kinds import KINDS
from familiar.engine import OutputGrammar
from familiar.event import PlannedCall
from familiar.goal import Goal
from familiar.plan.view import CONTRACT_FILE
from familiar.prompts.prompt import Prompt, load_prompt

MAX_ABOUT_CHARS = 1_200
MAX_GOAL_CHARS = 1_200


@dataclass(frozen=True, slots=True)
class Slot:
    """The request of a call, and the document made from its answer."""

    text: str
    prompt: Prompt
    document: DocumentSpec
    grammar: OutputGrammar | None
    grammar_name: str | None


def slot_for(
    call: PlannedCall, contract: ContractConfig, goal: Goal, contract_text: str | None
) -> Slot | None:
    """The slot that the call fills, or None when it has none and is an ordinary file or text."""
    file = call.output_file
    if file is None:
        return None
    if file == CONTRACT_FILE:
        return _contract_slot(contract, goal)
    if contract_text is None:
        return None
    shared = parse_contract(contract_text, pages=goal.pages)
    if file.endswith((".html", ".htm")):
        return _page_slot(call, file, contract, goal, shared)
    if file.endswith(".md") and contract.grammar:
        return _readme_slot(call, file, goal, shared)
    return None


def _contract_slot(contract: ContractConfig, goal: Goal) -> Slot:
    head = goal.text.strip()[:MAX_GOAL_CHARS]
    said = {"goal": head} if contract.grammar else {"goal": head, "palettes": ", ".join(PALETTES)}
    return _slot(DocumentSpec("html-contract"), contract.grammar, said)


def _page_slot(
    call: PlannedCall, file: str, contract: ContractConfig, goal: Goal, shared: Contract
) -> Slot:
    about = goal.about(file)[:MAX_ABOUT_CHARS].strip()
    splice = shared.page(file)
    requires = requirements_for(about, call.prompt)
    said = {
        "site": shared.site,
        "label": label(file),
        "about": about,
        "task": _without(call.prompt, about),
    }
    if not contract.grammar:
        said["file"] = file
    document = DocumentSpec("html-page", splice.prefix, splice.suffix, requires)
    return _slot(document, contract.grammar, said)


def _readme_slot(call: PlannedCall, file: str, goal: Goal, shared: Contract) -> Slot:
    about = goal.about(file)[:MAX_ABOUT_CHARS].strip()
    said = {"site": shared.site, "about": about, "task": _without(call.prompt, about)}
    return _slot(DocumentSpec("markdown"), True, said)


def _slot(document: DocumentSpec, held: bool, said: dict[str, str]) -> Slot:
    """The task as its kind's prompt says it; `held` by a grammar or not."""
    kind = KINDS[document.kind]
    if kind.prompt is None or kind.grammar is None:
        raise ValueError(f"The document kind {document.kind} has no prompt.")
    prompt = load_prompt(kind.prompt[0] if held else kind.prompt[1])
    text = prompt.render(**said)
    if not held:
        return Slot(text, prompt, document, None, None)
    return Slot(text.strip(), prompt, document, kind.grammar(document), document.kind)


def _without(task: str, *said: str) -> str:
    """The task without lines that are said already."""
    lines: Sequence[str] = task.strip().splitlines()
    return "\n".join(line for line in lines if not any(line in text for text in said))
