"""The slot of a page: checked for every engine, mended for those that cannot be held to a grammar.

A mend only ever touches tags: it takes the main part out of a whole document, drops what belongs to
the contract, drops closing tags that close nothing, and closes what was left open. Words are never
changed; a `<` or `&` that begins nothing is written as a reference, a control character goes. What
still does not hold what the page needs is a problem, and the call is asked again.
"""

from __future__ import annotations

from familiar.contract.content import (
    ends_before,
    misplaced,
    misplaced_words,
    miswritten,
    plain,
)
from familiar.contract.markup import RAW_TEXT, VOID, Tag, tags
from familiar.contract.requirements import SlotRequirements

_SHARED = ("header", "nav", "footer", "head", "script", "style")
_FRAME = ("html", "body", "main")
MAX_OPEN = 64
MAX_PROBLEMS = 8


def check_slot(text: str, requirements: SlotRequirements) -> list[str]:
    """Everything that keeps `text` from being the slot of a page, as sentences."""
    problems, seen = _structure(text)
    if plain(text) != text:
        problems.append(
            "A control character, or an & that is not written as &amp;, is in the text."
        )
    if requirements.pricing_table and "table" not in seen:
        problems.append("The page needs a table with prices.")
    if requirements.modal and "dialog" not in seen:
        problems.append("The page needs a modal (a <dialog>).")
    if requirements.listing and not seen & {"ul", "ol"}:
        problems.append("The page needs a list.")
    return problems


def _structure(text: str) -> tuple[list[str], set[str]]:
    """What is wrong with tags and their places, and the names of the elements that are there."""
    problems: list[str] = []
    seen: set[str] = set()
    open_tags: list[str] = []
    at = 0
    for tag in tags(text):
        found = [misplaced_words(text[at : tag.start], open_tags)]
        at = tag.end
        seen.add(tag.name)
        if tag.kind == "other":
            found.append(f"{text[tag.start : tag.end][:40]} does not belong into a page's slot.")
        elif tag.kind == "open":
            found += [misplaced(tag.name, open_tags), miswritten(text, tag)]
            if tag.name not in VOID:
                open_tags.append(tag.name)
        elif not open_tags or open_tags.pop() != tag.name:
            found.append(f"</{tag.name}> closes nothing that is open.")
        else:
            found.append(miswritten(text, tag))
        problems += [problem for problem in found if problem]
        if len(problems) > MAX_PROBLEMS or len(open_tags) > MAX_OPEN:
            break
    else:
        if problem := misplaced_words(text[at:], open_tags):
            problems.append(problem)
    return problems + [f"<{name}> is not closed." for name in open_tags[:MAX_PROBLEMS]], seen


def repair_slot(text: str) -> tuple[str, tuple[str, ...]]:
    """The slot in `text`, and what was done to its tags, by name."""
    repairs: list[str] = []
    written = _written(text)
    if written != text:
        repairs.append("wrote < and & that begin nothing as references")
    body = _main_part(written)
    if body != written:
        repairs.append("took the main part out of a whole document")
    text, dropped = _without_shared(body)
    if dropped:
        repairs.append(f"dropped what the contract holds ({', '.join(dropped)})")
    text, mended = _balanced(text)
    return text.strip(), (*repairs, *mended)


def _written(text: str) -> str:
    """Every `<` is now a tag's, so that nothing that is dropped later can make a new one."""
    out: list[str] = []
    at = 0
    for tag in tags(text):
        out += (text[at : tag.start].replace("<", "&lt;"), text[tag.start : tag.end])
        at = tag.end
    return plain("".join(out) + text[at:].replace("<", "&lt;"))


def _main_part(text: str) -> str:
    """What is inside main, or inside body; all of it when there is neither."""
    found = list(tags(text))
    for name in ("main", "body"):
        opening = next((t for t in found if t.kind == "open" and t.name == name), None)
        if opening is not None:
            closings = [t for t in found if t.kind == "close" and t.name == name]
            return text[opening.end : closings[-1].start if closings else len(text)]
    return text


def _without_shared(text: str) -> tuple[str, list[str]]:
    kept: list[str] = []
    dropped: list[str] = []
    inside: str | None = None
    depth = at = 0
    for tag in tags(text):
        if inside is None and tag.kind == "open" and tag.name in _SHARED:
            kept.append(text[at : tag.start])
            inside, depth = tag.name, 1
            dropped.append(tag.name)
        elif inside is None and (tag.kind == "other" or tag.name in _FRAME):
            kept.append(text[at : tag.start])
            at = tag.end
        elif inside is not None and tag.name == inside:
            depth += 1 if tag.kind == "open" else -1
            if depth == 0:
                inside, at = None, tag.end
    if inside is None:
        kept.append(text[at:])
    return "".join(kept), list(dict.fromkeys(dropped))


def _balanced(text: str) -> tuple[str, list[str]]:
    """Drop closing tags that close nothing, close what is open at its parent's end."""
    out: list[str] = []
    open_tags: list[str] = []
    dropped = closed = at = 0
    for tag in tags(text):
        out.append(text[at : tag.start])
        at = tag.end
        if tag.kind == "open":
            for _ in range(ends_before(tag.name, open_tags[-MAX_OPEN:])):
                out.append(f"</{open_tags.pop()}>")
                closed += 1
            if tag.name not in VOID and not _closes_itself(text, tag):
                open_tags.append(tag.name)
        elif tag.kind == "close":
            if tag.name not in open_tags[-MAX_OPEN:]:
                dropped += 1
                continue
            while open_tags[-1] != tag.name:
                out.append(f"</{open_tags.pop()}>")
                closed += 1
            open_tags.pop()
        out.append(text[tag.start : tag.end])
    out.append(text[at:])
    closed += len(open_tags)
    out += [f"</{name}>" for name in reversed(open_tags)]
    repairs = [f"closed {closed} open tag(s)"] if closed else []
    repairs += [f"dropped {dropped} closing tag(s) that closed nothing"] if dropped else []
    return "".join(out), repairs


def _closes_itself(text: str, tag: Tag) -> bool:
    """As XML has it. What follows a tag like `<textarea/>` is read as its text all the same."""
    return text[tag.end - 2] == "/" and tag.name not in RAW_TEXT
