"""What models put around a file besides fences and reasoning: tokens of a turn, a tag, its name.

Each of them is taken off only where it stands around the whole text. An answer that speaks about
the file, or hands it over inside of JSON, is no file: `reject_reports` raises.
"""

from __future__ import annotations

import json
import re

from familiar.errors import WireError
from familiar.wire.dialects import TURN_BEGIN, TURN_ENDS

_MARKUP = (".html", ".htm", ".xml", ".svg", ".xhtml", ".rss", ".vue", ".jsx", ".tsx")
_BEGIN = re.compile(r"\s{0,8}<s>\s{0,8}|" + TURN_BEGIN)
_ENDS = (*TURN_ENDS, "<|end|>", "<|return|>")
_TAG = re.compile(
    r"\s{0,64}<((?:final_)?(?:answer|output|response|result|content)|document|file|artifact|code|"
    r"file_content)(?:\s[^<>\n]{0,256})?>[ \t]*\n?"
)
_TOKEN_PAIR = re.compile(r"\s{0,64}<\|(begin_of_|START_)(solution|RESPONSE|TEXT)\|>[ \t]*\n?")
_ENDING = {"begin_of_": "end_of_", "START_": "END_"}
_NAMED = re.compile(
    r"\s{0,64}(?:(?:file(?:[ _]?name)?|path)[ \t]*:[ \t]*|[=\-*#]{2,9}[ \t]*)?[`*\"]{0,3}"
    r"([^\n`*\"=:]{1,240}?)[`*\"]{0,3}:?(?:[ \t]*[=\-*]{2,9})?[ \t]*\r?\n+",
    re.IGNORECASE,
)
_WRITERS = re.compile(
    r"\s{0,64}\{\s{0,64}\"(?:path|file|file_?name|file_?path|content|code|text|output|answer)\"\s{0,8}:"
)
_REPORT = re.compile(
    r"(?:(?:i(?:'|’)m|i am) (?:so |very )?(?:sorry|unable|not able|afraid)|sorry,|as an ai\b|"
    r"(?:unfortunately,? )?i (?:cannot|can(?:'|’)t|could not|couldn(?:'|’)t) "
    r"(?:help|assist|write|create|do|fulfil|comply|provide|generate|access|continue|complete)|"
    r"(?:done|finished|all set)[!.]|"
    r"(?:i(?:'|’)ve|i have) (?:now )?(?:created|written|updated|saved|added)|"
    r"(?:the )?file (?:[`\"]?[\w./-]{1,200}[`\"]? )?(?:(?:has been|was|is now) )?(?:successfully )?"
    r"(?:created|written|saved|updated))",
    re.IGNORECASE,
)
_LONGEST_REPORT = 400
_UNSEEN = re.compile("[\\s\u200b-\u200f\u2060\ufeff]*")


def without_tokens(text: str, *, markup: bool) -> tuple[str, tuple[str, ...]]:
    """Without the tokens with which a model begins and ends its turn."""
    notes: tuple[str, ...] = ()
    if (begun := _BEGIN.match(text)) is not None and not (markup and "<s>" in begun.group()):
        text, notes = text[begun.end() :], ("removed the mark of the answer's begin",)
    ends = _ENDS if markup else (*_ENDS, "</s>")
    for _ in range(8):
        kept = text.rstrip()
        end = next((mark for mark in ends if kept.endswith(mark)), None)
        if end is None:
            break
        text, notes = kept[: -len(end)], (*notes, "removed the mark of the answer's end")
    return text, notes


def without_tag(text: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Without one tag around all of the text, such as `<answer>`, where it is no part of a file."""
    opened, kept = _TOKEN_PAIR.match(text) or _TAG.match(text), text.rstrip()
    if opened is None or (name.endswith(_MARKUP) and opened.re is _TAG):
        return text, ()
    closer = f"</{opened.group(1)}>"
    if opened.re is _TOKEN_PAIR:
        closer = f"<|{_ENDING[opened.group(1)]}{opened.group(2)}|>"
    if not kept.endswith(closer) or kept.count(closer) > 1:
        return text, ()
    inner = kept[opened.end() : -len(closer)].rstrip()
    return f"{inner}\n", ("removed the tag around the document",)


def without_name(text: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Without a first line that is the file's name, unless it is a comment or a heading."""
    first = _NAMED.match(text)
    if first is None or first.group(1).strip().lower() not in (name, name.rpartition("/")[2]):
        return text, ()
    if first.group().lstrip().startswith("##") or not text[first.end() :].strip():
        return text, ()
    return text[first.end() :], ("removed the file's name in front of it",)


def reject_reports(text: str, name: str, *, bare: bool) -> None:
    """Raises `WireError` for a sentence instead of the file (where it is `bare`, without a fence),
    and for the file inside of JSON."""
    if _UNSEEN.fullmatch(text):
        raise WireError("The answer holds no document.")
    said = text.strip() if bare and len(text) <= _LONGEST_REPORT else ""
    if _REPORT.match(said) and "\n\n" not in said:
        raise WireError("The answer speaks about the file, and the file's text was asked for.")
    if _WRITERS.match(text) and not re.search(r"\.\w{0,4}json[lc5]?$", name) and _is_object(text):
        raise WireError("The answer is a JSON object, and the file's text was asked for.")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, strict=False), dict)
    except (ValueError, RecursionError):
        return False
