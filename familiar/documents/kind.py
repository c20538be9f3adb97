"""One kind of document: how an answer becomes the file, and the prompt and grammar for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from familiar.call import DocumentSpec
from familiar.engine import OutputGrammar


@dataclass(frozen=True, slots=True)
class FinishedDocument:
    """The file's text, and each repair, in words for a person."""

    text: str
    repairs: tuple[str, ...] = ()


class DocumentKind(Protocol):
    """`prompt` names the prompt file of a call that makes such a document, where it has one: the
    first for an engine that holds the model to `grammar`, the second for one that cannot."""

    @property
    def name(self) -> str: ...

    @property
    def prompt(self) -> tuple[str, str] | None: ...

    def grammar(self, spec: DocumentSpec) -> OutputGrammar | None:
        """The output grammar of this kind, or None when the form is free."""

    def finish(self, raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
        """The text of the file at `path`. Raises `WireError` when `raw` cannot become it."""
