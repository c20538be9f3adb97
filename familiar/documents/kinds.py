"""The kinds of documents: how an answer becomes the file, and the prompt and grammar for it.

A new kind is a row of `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class DocumentKind:
    """`finish(raw, spec, path)` makes the file, or raises `WireError` when `raw` cannot become it.

    `prompt` names the prompt file of a call that makes such a document, where it has one: the first
    for an engine that holds the model to `grammar`, the second for one that cannot.
    """

    finish: Callable[[str, DocumentSpec, str], FinishedDocument]
    prompt: tuple[str, str] | None = None
    grammar: Callable[[DocumentSpec], OutputGrammar] | None = None


def _raw(raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
    return FinishedDocument(raw)


def _single(raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
    return FinishedDocument(*extract_document(raw, path))


def _page(raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
    """A slot that is checked, repaired, and spliced between the shared parts: `prefix` and `suffix`
    stay as they are, byte for byte. `requires` names the parts that the slot must hold."""
    text, repairs = extract_document(raw, path)
    slot, changes = repair_slot(text)
    if problems := missing_parts(slot, spec.requires):
        raise WireError(" ".join(problems))
    return FinishedDocument(f"{spec.prefix}{slot}{spec.suffix}", (*repairs, *changes))


def _contract(raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
    text, repairs = extract_document(raw, path)
    parse_contract(text, pages=())
    return FinishedDocument(text, repairs)


KINDS: dict[str, DocumentKind] = {
    "raw": DocumentKind(_raw),
    "document": DocumentKind(_single),
    "markdown": DocumentKind(
        _single, ("slot/markdown", "slot/markdown"), lambda _: markdown_grammar()
    ),
    "html-page": DocumentKind(
        _page, ("slot/html-page", "slot/html-free"), lambda spec: page_grammar(spec.requires)
    ),
    "html-contract": DocumentKind(
        _contract,
        ("slot/html-contract", "slot/html-contract-free"),
        lambda _: contract_grammar(),
    ),
}


def finish(raw: str, spec: DocumentSpec, path: str = "") -> FinishedDocument:
    """The text of the file at `path`. Pure, but seconds of work for megabytes: call it in a thread.

    Raises `WireError` when `raw` cannot become what `spec` asks for; no other exception.
    """
    if not raw.strip():
        raise WireError("The model wrote nothing.")
    return KINDS[spec.kind].finish(raw, spec, path)
