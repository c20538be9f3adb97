"""The brief of a worker call: the task of the plan, the words of the goal about the file, and the
sources that the call depends on.

A worker sees no more than it needs. A file that it depends on is handed on by reference (path,
hash, size, outline); the files that the plan says it needs, and the answers of calls that wrote no
file, are handed on in full while that fits into half of the role's window, and cut evenly beyond
that, with a mark where something was left out. A page under a contract is asked for its slot only;
the shared parts are spliced by the harness and cost no token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from familiar.brief import Brief, sampling_of
from familiar.call import DocumentSpec
from familiar.config.schema import AliasConfig, Config
from familiar.context.artifact import ArtifactRef
from familiar.context.tokens import CHARS_PER_TOKEN, window_of
from familiar.engine import Message
from familiar.event import PlannedCall
from familiar.goal import Goal
from familiar.prompts.prompt import Prompt, composed_version, has_prompt, load_prompt
from familiar.prompts.slot import slot_for

MAX_ABOUT_CHARS = 4_000
CUT = "\n[… left out …]\n"


@dataclass(frozen=True, slots=True)
class Source:
    """Something that is handed on in full: a file's path or a call's id, and its text."""

    name: str
    text: str


def brief_worker(
    call: PlannedCall,
    *,
    config: Config,
    goal: Goal,
    sources: Sequence[Source | ArtifactRef],
    contract_text: str | None,
    attempt: int,
) -> Brief:
    """The prompt of the worker, and the use of its answer."""
    alias = config.aliases[call.alias]
    system = alias_prompt(call.alias, alias)
    slot = None
    if config.contract.kind == "html-page":
        slot = slot_for(call, config.contract, goal, contract_text)
    if slot is None:
        user, prompt, parts = _plain_task(call, config, alias, goal, sources), system, _parts(call)
    else:
        user, prompt, parts = slot.text, slot.prompt, [slot.prompt]
    return Brief(
        messages=(Message("system", system.text), Message("user", user)),
        prompt_name=prompt.name,
        prompt_version=composed_version([system, *parts, load_prompt("recovery/again")]),
        sampling=sampling_of(alias.sampling, attempt=attempt),
        grammar=None if slot is None else slot.grammar,
        grammar_name=None if slot is None else slot.grammar_name,
        document=_plain_document(call) if slot is None else slot.document,
    )


def alias_prompt(name: str, alias: AliasConfig) -> Prompt:
    """The alias's own prompt, the one of its name, or the one of every worker."""
    if alias.prompt:
        return load_prompt(alias.prompt)
    return load_prompt(f"alias/{name}" if has_prompt(f"alias/{name}") else "alias/worker")


def _plain_document(call: PlannedCall) -> DocumentSpec:
    return DocumentSpec(kind="raw" if call.output_file is None else "document")


def _parts(call: PlannedCall) -> list[Prompt]:
    """The files that a task without a slot is rendered from."""
    form = "worker/text" if call.output_file is None else "worker/file"
    return [load_prompt("worker/call"), load_prompt(form)]


def _plain_task(
    call: PlannedCall,
    config: Config,
    alias: AliasConfig,
    goal: Goal,
    sources: Sequence[Source | ArtifactRef],
) -> str:
    user = load_prompt("worker/call").render(
        task=call.prompt.strip(),
        about=_about(call, goal),
        sources=_sources(sources, config, alias),
    )
    form = load_prompt("worker/text" if call.output_file is None else "worker/file")
    closing = form.text if call.output_file is None else form.render(file=call.output_file)
    return f"{user.strip()}\n\n{closing}"


def _about(call: PlannedCall, goal: Goal) -> str:
    """The words of the goal about the file; the whole goal where no file is named."""
    if call.output_file is None:
        text = goal.text if not goal.files else ""
    else:
        text = goal.about(call.output_file)
    text = text.strip()
    if not text or text in call.prompt:
        return ""
    return f"\nThe goal says:\n{text[:MAX_ABOUT_CHARS]}\n"


def _sources(sources: Sequence[Source | ArtifactRef], config: Config, alias: AliasConfig) -> str:
    if not sources:
        return ""
    full = sum(isinstance(source, Source) for source in sources)
    share = int(window_of(alias, config) * CHARS_PER_TOKEN / 2 / max(full, 1))
    parts = [
        f"--- {source.name} ---\n{_cut(source.text, share)}"
        if isinstance(source, Source)
        else f"--- {source.described}"
        for source in sources
    ]
    return "\nWhat this depends on:\n" + "\n".join(parts) + "\n"


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = max((limit - len(CUT)) // 2, 0)
    return text[:half] + CUT + text[len(text) - half :]
