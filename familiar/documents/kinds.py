"""The kinds of documents: how an answer becomes the file, and the prompt and grammar for it.

A new kind is a class here and its name in `KINDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from familiar.call import DocumentSpec
from familiar.documents.html.contract import parse_contract
from familiar.documents.html.grammar import contract_grammar, markdown_grammar, page_grammar
from familiar.documents.html.parts import missing_parts
from familiar.documents.html.slot import repair_slot
from familiar.documents.single import extract_document
from familiar.engine import OutputGrammar
from familiar.errors import WireError


@dataclass(frozen=True, slots=True)
class FinishedDocument:
    """The file's text, and each repair, in words for a person."""

    text: str
    repairs: tuple[str, ...] = ()


class DocumentKind(Protocol):
    """`prompt` names the prompt file of a call that makes such a document, where it has one: the
    first for an engine that holds the model to `grammar`, the second for one that cannot."""

    @property
    def prompt(self) -> tuple[str, str] | None: ...

    def grammar(self, spec: DocumentSpec) -> OutputGrammar | None:
        """The output grammar of this kind, or None when the form is free."""

    def finish(self, raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
        """The text of the file at `path`. Raises `WireError` when `raw` cannot become it."""


class Raw:
    """The answer as it is; for calls that make no file."""

    prompt = None

    def grammar(self, spec: DocumentSpec) -> None:
        return None

    def finish(self, raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
        return FinishedDocument(raw)


class Single:
    """One document out of the answer, as `single` reads it."""

    prompt = None

    def grammar(self, spec: DocumentSpec) -> None:
        return None

    def finish(self, raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
        return FinishedDocument(*extract_document(raw, path))


class Markdown:
    """One Markdown file, whose structure a grammar can hold a small model to."""

    prompt = ("slot/markdown", "slot/markdown")

    def grammar(self, spec: DocumentSpec) -> OutputGrammar:
        return markdown_grammar()

    def finish(self, raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
        return FinishedDocument(*extract_document(raw, path))


class Page:
    """A slot that is checked, repaired, and spliced between the shared parts.

    `prefix` and `suffix` stay as they are, byte for byte. `requires` names the parts that the slot
    must hold; `html/parts` has them.
    """

    prompt = ("slot/html-page", "slot/html-free")

    def grammar(self, spec: DocumentSpec) -> OutputGrammar:
        return page_grammar(spec.requires)

    def finish(self, raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
        text, repairs = extract_document(raw, path)
        slot, changes = repair_slot(text)
        if problems := missing_parts(slot, spec.requires):
            raise WireError(" ".join(problems))
        return FinishedDocument(f"{spec.prefix}{slot}{spec.suffix}", (*repairs, *changes))


class PageContract:
    """The shared parts of a run's pages; the text must parse as a contract."""

    prompt = ("slot/html-contract", "slot/html-contract-free")

    def grammar(self, spec: DocumentSpec) -> OutputGrammar:
        return contract_grammar()

    def finish(self, raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
        text, repairs = extract_document(raw, path)
        parse_contract(text, pages=())
        return FinishedDocument(text, repairs)


KINDS: dict[str, DocumentKind] = {
    "raw": Raw(),
    "document": Single(),
    "markdown": Markdown(),
    "html-page": Page(),
    "html-contract": PageContract(),
}


def finish(raw: str, spec: DocumentSpec, path: str = "") -> FinishedDocument:
    """The text of the file at `path`. Pure, but seconds of work for megabytes: call it in a thread.

    Raises `WireError` when `raw` cannot become what `spec` asks for; no other exception.
    """
    if not raw.strip():
        raise WireError("The model wrote nothing.")
    return KINDS[spec.kind].finish(raw, spec, path)
