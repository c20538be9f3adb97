"""`document`: one document out of an answer, without the fence or the chatter around it.

Models reason, wrap a file in a code fence and talk before and after it. Only text outside the
document is removed; inside it not one character is touched. An answer that a careful person would
not take for the file is rejected, and the call is asked again: several blocks, a tool call, text
around a block that may belong to the file.
"""

from __future__ import annotations

import re

from familiar.documents.fences import Fence, blocks, fence_spans, fences, is_chatter, is_said
from familiar.documents.frame import reject_reports, without_name, without_tag, without_tokens
from familiar.documents.reasoning import without_reasoning
from familiar.errors import WireError
from familiar.wire.dialects import BYTE_ORDER_MARK

_MARKDOWN = (".md", ".markdown", ".mdx", ".rmd", ".qmd")
_PROSE = (*_MARKDOWN, ".txt", ".rst", ".adoc")
_HTML = (".html", ".htm")
_MARKDOWN_LABELS = ("markdown", "md", "mdx")
_TEXT_LABELS = ("text", "txt", "plaintext", "plain")
_CODE_FILE = re.compile(
    r"\.(?:c|cc|cpp|cs|css|go|h|hpp|java|jsx?|json|kt|lua|php|pl|py|rb|rs|scss|sh|sql|swift|toml|"
    r"tsx?|vue|ya?ml)$"
)
_CALL = re.compile(
    r"^[ \t]*(?:<(?:\w{1,16}:)?(?:tool|function)_?(?:calls?|use|code)>|<function=|<parameter=|"
    r"<invoke |<start_function_call>|<tools>\s*[\[{]|<(?:write|create|edit|save)_(?:to_)?file>|"
    r"<\|(?:tool|START_ACTION|action_start)|<｜tool|<[^<>\w\s/]{0,4}DSML[^<>\w\n]|\]<\]minimax\[>\[|"
    r"\[TOOL_(?:CALLS|REQUEST)\]|<\|python_tag\|>|<\|channel\|>|functools\[\{|"
    r'\[?\{\s*"(?:name|function|tool|tool_name)"\s*:\s*"(?:write|create|save|edit|str_replace)'
    r"[\w.-]*\")",
    re.MULTILINE,
)
_ENVELOPE = re.compile(r'\s*\{\s*"(?:tool_calls?|function_call)"\s*:')
_DIFF = re.compile(
    r"\s*(?:diff --git |--- [^\n]+\n\+\+\+ |\*\*\* Begin Patch|@@ -\d|"
    r"(?:[^\n]{1,240}\n)?<{5,9} ?(?:SEARCH|ORIGINAL|HEAD)\b)"
)
_DIFF_FILES = (".diff", ".patch", *_PROSE)
_PAGE = re.compile(r"<!doctype html|<html[\s>]", re.IGNORECASE)
_DOCTYPE = re.compile(r"^[ \t]{0,64}<!doctype html", re.IGNORECASE | re.MULTILINE)
_PAGE_END = re.compile(r"</html\s*>", re.IGNORECASE)
_A_CALL = "The answer is a tool call, and a file's text was asked for."
_HEADING = re.compile(r"#{1,6} [^\W_]|\*\*[^*]+\*\*\s*$")
_PROSE_LINE = re.compile(r"(?:[A-Z*>-]|\d{1,3}[.)])[^\n]* ")
_SENTENCE = re.compile(r"[A-Z][^\n]*[.!:]\s*\Z")
_FENCE_NOTE = "removed the fence around the document"
_WORDS_NOTE = "removed the words around the document"


def extract_document(text: str, file: str) -> tuple[str, tuple[str, ...]]:
    """The document that `file` should hold, and what was removed, by name. Linear in the text.

    Raises `WireError` when the answer is not one document.
    """
    name = file.lower()
    text, tokens = without_tokens(text.removeprefix(BYTE_ORDER_MARK), markup=name.endswith(_HTML))
    text, notes = without_reasoning(text)
    _reject_calls(text)
    text, tag = without_tag(text, name)
    document, removed = _unwrapped(text, name)
    document, named = (document, ()) if removed else without_name(document, name)
    notes = (*tokens, *notes, *tag, *removed, *named)
    if _CALL.match(document.lstrip()) or _ENVELOPE.match(document):
        raise WireError(_A_CALL)
    if _DIFF.match(document) and not name.endswith(_DIFF_FILES):
        raise WireError("The answer is a change to a file, and the whole file was asked for.")
    document, more = _html(document) if name.endswith(_HTML) else _unsaid(document, name)
    reject_reports(document, name, bare=not removed)
    return document, tuple(dict.fromkeys((*notes, *more)))


def _reject_calls(text: str) -> None:
    """Markup of a tool call is no file, unless the file shows it in a block of code."""
    spans = iter([*fence_spans(text), (len(text), len(text))])
    start, end = next(spans)
    for call in _CALL.finditer(text):
        while call.start() >= end and end < len(text):
            start, end = next(spans)
        if not start <= call.start() < end:
            raise WireError(_A_CALL)


def _unwrapped(text: str, name: str) -> tuple[str, tuple[str, ...]]:
    found = fences(text)
    if not found:
        return text, ()
    opening = found[0]
    last = opening.end if len(found) == 1 and not opening.label and opening.start else 0
    if last and not text[last:].strip() and not name.endswith(_PROSE):
        return text[: opening.start].rstrip() + "\n", (_FENCE_NOTE,)
    before = text[: opening.start].strip()
    if opening.label in ("diff", "patch") and not name.endswith(_DIFF_FILES):
        raise WireError("The answer is a change to a file, and the whole file was asked for.")
    if not is_chatter(before):
        if name.endswith(_HTML):
            return _one_page(text, found)
        if _is_explained(before, name):
            raise WireError("The answer explains the file, and only the file was asked for.")
        return text, ()
    end = Fence(len(text), len(text), opening.mark, "")
    if name.endswith(_PROSE):
        closing = _prose_wrapper(text, found, before, end, markdown=name.endswith(_MARKDOWN))
        if closing is None:
            return text, ()
    else:
        closing = _wrapper(found, end)
    after = text[closing.end :].strip()
    if not is_chatter(after):
        raise WireError("The text around the code block may be a part of the file.")
    removed = (_FENCE_NOTE, _WORDS_NOTE) if before or after else (_FENCE_NOTE,)
    return text[opening.end : closing.start], removed


def _rivals(found: list[Fence]) -> list[Fence]:
    """The fences that may close the first one, or open another block like it."""
    opening = found[0]
    return [
        fence
        for fence in found[1:]
        if fence.mark[0] == opening.mark[0] and len(fence.mark) >= len(opening.mark)
    ]


def _wrapper(found: list[Fence], end: Fence) -> Fence:
    """The fence that closes the block of a file that has no fences of its own."""
    rivals = _rivals(found)
    if not rivals:
        return end
    if len(rivals) > 1 or rivals[0].label:
        raise WireError("The answer holds several code blocks, and one file was asked for.")
    return rivals[0]


def _prose_wrapper(
    text: str, found: list[Fence], before: str, end: Fence, *, markdown: bool
) -> Fence | None:
    """The fence that closes the block around a whole text; None when its blocks are its own."""
    opening = found[0]
    labelled = opening.label in _MARKDOWN_LABELS
    if markdown and opening.label and opening.label not in (*_MARKDOWN_LABELS, *_TEXT_LABELS):
        return None  # a block of code that is all of the file
    rivals = _rivals(found)
    heading = text.startswith("# ", opening.end)
    if not (labelled or (is_said(before) and heading) or not before):
        return None
    if not rivals or rivals[-1].label:
        return end if labelled or not markdown else None
    last = rivals[-1]
    if labelled:
        # An odd number inside means that the last one closes a block inside: cut before its end.
        return last if len(rivals) % 2 else end
    after = text[last.end :].strip()
    if after and not is_said(after):
        return None
    depth = 1
    for rival in rivals:
        depth += 1 if rival.label else -1
        if depth == 0 and rival is not last:
            return None
    return last if depth == 0 else None


def _one_page(text: str, found: list[Fence]) -> tuple[str, tuple[str, ...]]:
    """The one block that holds a whole page, inside of a long explanation."""
    if _PAGE.search(text, 0, found[0].start):
        return text, ()
    closed = [(first.end, last.start) for first, last in blocks(found) if last is not None]
    pages = [text[start:stop] for start, stop in closed if _PAGE.search(text, start, stop)]
    if len(pages) != 1:
        raise WireError("The answer is an explanation, and not one page.")
    return pages[0], (_FENCE_NOTE, _WORDS_NOTE)


def _html(text: str) -> tuple[str, tuple[str, ...]]:
    """A page or a part of one, without the sentences before its first and behind its last tag."""
    begun = _PAGE.search(text)
    if len(_DOCTYPE.findall(text)) > 1 and len(_PAGE_END.findall(text)) > 1:
        raise WireError("The answer holds several pages, and one file was asked for.")
    start = begun.start() if begun is not None else _first_tag(text)
    before = text[:start].strip()
    if before and any(line.lstrip().startswith("<") for line in before.splitlines()):
        start, before = 0, ""
    ends = [match.end() for match in _PAGE_END.finditer(text)]
    stop = ends[-1] if ends else text.rfind(">") + 1
    after = text[stop:].strip()
    if not ends and not is_said(after):
        stop, after = len(text), ""
    if begun is None and before and not is_said(before):
        start, before = 0, ""
    if not (before or after):
        return text, ()
    if begun is not None and "<" in after:
        raise WireError("There is markup after the end of the page.")
    return text[start:stop].rstrip() + "\n", (_WORDS_NOTE,)


def _first_tag(text: str) -> int:
    match = re.search(r"^[ \t]*<", text, re.MULTILINE)
    return 0 if match is None else match.start()


def _is_explained(before: str, name: str) -> bool:
    """Whether headings and sentences, and no code, stand in front of the block of a code file."""
    lines = [line for line in before.splitlines() if line.strip()]
    return _CODE_FILE.search(name) is not None and all(
        _HEADING.match(line) or (_PROSE_LINE.match(line) and is_chatter(line)) for line in lines
    )


def _unsaid(text: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Without a first line like "Here is the file:" and a last paragraph like "I hope ...".

    A file of code cannot hold sentences that no mark makes a comment. Raises `WireError` where such
    text stands at the end, or is all that there is.
    """
    first, mark, rest = text.lstrip().partition("\n")
    code = _CODE_FILE.search(name) is not None
    ended = " " in first.strip() and first.rstrip().endswith((":", ".", "!") if code else ":")
    if mark and ended and (code or rest[:1] in "\r\n") and is_said(first):
        return _unsaid(rest.lstrip("\r\n"), name)[0], (_WORDS_NOTE,)
    if not code:
        return text, ()
    body, gap, last = text.rstrip().rpartition("\n\n")
    if not _SENTENCE.match(last) or not is_chatter(last):
        return text, ()
    if not gap or not is_said(last):
        raise WireError("Sentences stand around the text of the file.")
    return body + "\n", (_WORDS_NOTE,)
