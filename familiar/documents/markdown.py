"""`markdown`: one Markdown file, whose structure a grammar can hold a small model to."""

from __future__ import annotations

from familiar.call import DocumentSpec
from familiar.documents.html.grammar import markdown_grammar
from familiar.documents.kind import FinishedDocument
from familiar.documents.single import extract_document
from familiar.engine import OutputGrammar


class Markdown:
    name = "markdown"
    prompt = ("slot/markdown", "slot/markdown")

    def grammar(self, spec: DocumentSpec) -> OutputGrammar:
        return markdown_grammar()

    def finish(self, raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
        return FinishedDocument(*extract_document(raw, path))
