"""The kinds of documents by name. A new kind is a module with a class, and a line here."""

from __future__ import annotations

from familiar.call import DocumentSpec
from familiar.documents.kind import DocumentKind, FinishedDocument
from familiar.documents.markdown import Markdown
from familiar.documents.page import Page
from familiar.documents.page_contract import PageContract
from familiar.documents.raw import Raw
from familiar.documents.single import Single
from familiar.errors import WireError

_ALL: tuple[DocumentKind, ...] = (Raw(), Single(), Markdown(), Page(), PageContract())
KINDS: dict[str, DocumentKind] = {kind.name: kind for kind in _ALL}


def finish(raw: str, spec: DocumentSpec, path: str = "") -> FinishedDocument:
    """The text of the file at `path`. Pure, but seconds of work for megabytes: call it in a thread.

    Raises `WireError` when `raw` cannot become what `spec` asks for; no other exception.
    """
    if not raw.strip():
        raise WireError("The model wrote nothing.")
    return KINDS[spec.kind].finish(raw, spec, path)
