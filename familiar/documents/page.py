"""`html-page`: a slot that is checked, repaired, and spliced between the shared parts.

`prefix` and `suffix` stay as they are, byte for byte. `requires` names the parts that the slot must
hold: `pricing-table`, `modal`, `listing`.
"""

from __future__ import annotations

from familiar.call import DocumentSpec
from familiar.documents.html.grammar import page_grammar
from familiar.documents.html.slot import missing_parts, repair_slot
from familiar.documents.kind import FinishedDocument
from familiar.documents.single import extract_document
from familiar.engine import OutputGrammar
from familiar.errors import WireError


class Page:
    name = "html-page"
    prompt = ("slot/html-page", "slot/html-free")

    def grammar(self, spec: DocumentSpec) -> OutputGrammar:
        return page_grammar(spec.requires)

    def finish(self, raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
        text, repairs = extract_document(raw, path)
        slot, changes = repair_slot(text)
        if problems := missing_parts(slot, spec.requires):
            raise WireError(" ".join(problems))
        return FinishedDocument(f"{spec.prefix}{slot}{spec.suffix}", (*repairs, *changes))
