"""One document out of an answer: without the fence or the chatter around it, and nothing else.

Models wrap a file in a code fence and add a sentence before and after it. Only what stands outside
the document is removed; inside it not one character is touched. A fence that is part of the
document (a Markdown file shows code) stays: chatter is only removed around a fence when the answer
has a single outer one.
"""

from __future__ import annotations

from familiar.call import DocumentSpec
from familiar.documents.kind import FinishedDocument

MAX_CHATTER_LINES = 6
MAX_CHATTER_CHARS = 600


class Single:
    name = "document"
    prompt = None

    def grammar(self, spec: DocumentSpec) -> None:
        return None

    def finish(self, raw: str, spec: DocumentSpec, path: str) -> FinishedDocument:
        return FinishedDocument(*extract_document(raw, path))


def extract_document(text: str, file: str) -> tuple[str, tuple[str, ...]]:
    """The document that `file` should hold, and what was removed, by name. Linear in the text."""
    fenced = _fenced(text, markdown=file.endswith((".md", ".markdown")))
    if fenced is not None:
        return fenced
    if file.endswith((".html", ".htm")):
        return _html(text)
    return text, ()


def _fenced(text: str, *, markdown: bool) -> tuple[str, tuple[str, ...]] | None:
    lines = text.splitlines(keepends=True)
    fences = [index for index, line in enumerate(lines) if line.lstrip().startswith("```")]
    if not fences:
        return None
    first, last = fences[0], fences[-1]
    before = "".join(lines[:first]).strip()
    after = "".join(lines[last + 1 :]).strip()
    closed = first != last and lines[last].strip() == "```"
    if markdown and (before or after or not closed or len(fences) % 2):
        return None
    if not closed:
        # Cut off, or ended without its closing fence: the rest of the answer is the document.
        last, after = len(lines), ""
    if len(fences) > 2 and not markdown:
        return None
    if not (_is_chatter(before) and _is_chatter(after)):
        return None
    removed = ["removed the fence around the document"]
    if before or after:
        removed.append("removed the words around the document")
    return "".join(lines[first + 1 : last]), tuple(removed)


def _html(text: str) -> tuple[str, tuple[str, ...]]:
    lower = text.lower()
    if len(lower) != len(text):
        return text, ()
    starts = [at for at in (lower.find("<!doctype html"), lower.find("<html")) if at != -1]
    end = lower.rfind("</html>")
    if not starts:
        return text, ()
    start, stop = min(starts), len(text) if end == -1 else end + len("</html>")
    before, after = text[:start].strip(), text[stop:].strip()
    if not (before or after) or not (_is_chatter(before) and _is_chatter(after)):
        return text, ()
    return text[start:stop] + "\n", ("removed the words around the document",)


def _is_chatter(text: str) -> bool:
    """Few short lines without markup: words about the document, not a part of it."""
    return (
        len(text) <= MAX_CHATTER_CHARS and text.count("\n") < MAX_CHATTER_LINES and "<" not in text
    )
