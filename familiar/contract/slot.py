"""The slot of a page: checked for every engine, mended for those that cannot be held to a grammar.

A mend only ever touches tags: it takes the main part out of a whole document, drops what belongs to
the contract, drops closing tags that close nothing, and closes what was left open. Text is never
changed. What still does not hold what the page needs is a problem, and the call is asked again.
"""

from __future__ import annotations

from familiar.contract.markup import VOID, Tag, tags
from familiar.contract.requirements import SlotRequirements

_SHARED = ("header", "nav", "footer", "head", "script", "style")
_FRAME = ("html", "body", "main")
_ALLOWED = frozenset(
    (
        "a abbr address article aside b blockquote br button caption cite code col colgroup dd "
        "details dialog div dl dt em figcaption figure form h1 h2 h3 h4 h5 h6 hr i img input label "
        "legend li mark ol option p pre q s section select small span strong sub summary sup table "
        "tbody td textarea tfoot th thead time tr u ul"
    ).split()
)
MAX_OPEN = 64


def check_slot(text: str, requirements: SlotRequirements) -> list[str]:
    """Everything that keeps `text` from being the slot of a page, as sentences."""
    problems: list[str] = []
    seen: set[str] = set()
    open_tags: list[str] = []
    for tag in tags(text):
        seen.add(tag.name)
        if tag.kind == "other" or tag.name not in _ALLOWED:
            problems.append(f"{text[tag.start : tag.end][:40]} does not belong into a page's slot.")
        elif tag.kind == "open" and tag.name not in VOID:
            open_tags.append(tag.name)
        elif tag.kind == "close" and (not open_tags or open_tags.pop() != tag.name):
            problems.append(f"</{tag.name}> closes nothing that is open.")
        if len(problems) > 8 or len(open_tags) > MAX_OPEN:
            break
    problems += [f"<{name}> is not closed." for name in open_tags[:8]]
    if requirements.pricing_table and "table" not in seen:
        problems.append("The page needs a table with prices.")
    if requirements.modal and "dialog" not in seen:
        problems.append("The page needs a modal (a <dialog>).")
    if requirements.listing and not seen & {"ul", "ol"}:
        problems.append("The page needs a list.")
    return problems


def repair_slot(text: str) -> tuple[str, tuple[str, ...]]:
    """The slot in `text`, and what was done to its tags, by name."""
    repairs: list[str] = []
    body = _main_part(text)
    if body != text:
        repairs.append("took the main part out of a whole document")
    text, dropped = _without_shared(body)
    if dropped:
        repairs.append(f"dropped what the contract holds ({', '.join(dropped)})")
    text, mended = _balanced(text)
    return text.strip(), (*repairs, *mended)


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
        if tag.kind == "open" and tag.name not in VOID and not _closes_itself(text, tag):
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
    return text[tag.end - 2] == "/"
