"""`html-contract`: the shared parts of a run's pages; it must parse as a contract."""

from __future__ import annotations

from familiar.call import DocumentSpec
from familiar.documents.html.contract import parse_contract
from familiar.documents.html.grammar import contract_grammar
from familiar.documents.kind import FinishedDocument
from familiar.documents.single import extract_document
from familiar.engine import OutputGrammar


class PageContract:
    name = "html-contract"
    prompt = ("slot/html-contract", "slot/html-contract-free")

    def grammar(self, spec: DocumentSpec) -> OutputGrammar:
        return contract_grammar()

    def finish(self, raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
        text, repairs = extract_document(raw, path)
        parse_contract(text, pages=())
        return FinishedDocument(text, repairs)
