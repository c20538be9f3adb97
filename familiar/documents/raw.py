"""`raw`: the answer as it is; for calls that make no file."""

from __future__ import annotations

from familiar.call import DocumentSpec
from familiar.documents.kind import FinishedDocument


class Raw:
    name = "raw"
    prompt = None

    def grammar(self, spec: DocumentSpec) -> None:
        return None

    def finish(self, raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
        return FinishedDocument(raw)
