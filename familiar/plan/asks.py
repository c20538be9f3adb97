"""The asks of a prompt, counted: explicit lengths, and the parts of each sort.

A pure reading of English phrases: "about 200 words", "ten sections", "6-8 items", "sections: A, B
and C", a list of points. Counts stand as digits or as words up to twenty, a dozen, or a hundred.
Every pattern is bounded and the text is walked once for each, so the cost is linear. What is not
understood is not counted; nothing is guessed here (`estimate` does that, and says how).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_UP_TO_TWENTY = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
_NUMBERS = {name: value for value, name in enumerate(_UP_TO_TWENTY.split(" "), start=1)} | {
    "dozen": 12,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "hundred": 100,
    "couple": 2,
}

LENGTHS = ("word", "token", "line", "character", "sentence")
"""Units that say how long the whole is."""

_PARTS = {
    "section": "section chapter heading",
    "paragraph": "paragraph",
    "item": "item bullet point entry step question faq feature card link reason tip fact name "
    "option product service price staff task requirement recipe",
    "row": "row",
    "table": "table",
    "example": "example snippet block",
    "function": "function method endpoint route test handler helper query",
    "class": "class model component dataclass",
    "key": "key setting field property variable parameter",
    "page": "page file document module script article essay",
}
_UNITS = {word: part for part, words in _PARTS.items() for word in words.split()} | {
    name: name for name in LENGTHS
}
_COUNT = r"(?:\d{1,3}(?:,\d{3})+|\d{1,6}|" + "|".join(_NUMBERS) + r")"
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
_ASK = re.compile(
    rf"(?<![\w.])({_COUNT})(?:\s?(?:-|–|to|or)\s?({_COUNT}))?[\s-]"
    rf"(?:[A-Za-z]{{2,16}}[\s-]){{0,2}}?({_UNIT})(?:s|es)?\b",
    re.IGNORECASE,
)
_LISTED = re.compile(
    r"(?i:\b(section|heading|chapter|function|method|class|key|setting|endpoint|row|page)(?:s|es)"
    r"(?:,? (?:named|called)|:)|\b(section|heading|chapter|function|method|class|key)(?:s|es)"
    r"(?= [A-Z`\"'])) ([^.\n;]{3,600})"
)
_POINT = re.compile(r"^[ \t]{0,12}(?:[-*+•]|\d{1,2}[.)])[ \t]+\S", re.MULTILINE)
_FILE = re.compile(
    r"(?<![\w./@:-])([A-Za-z0-9_][\w-]{0,60}(?:/[\w-]{1,60}){0,6}"
    r"\.(?:html?|css|js|md|txt|py|json|ya?ml|csv|svg|toml|sql))(?![\w/-])"
)
_MAKES = re.compile(
    r"\b(?:write|make|create|generate|produce|build|output|implement|draft|include)\b",
    re.IGNORECASE,
)
_READS = re.compile(
    r"\b(?:link|links|linking|refer|see|from|read|review|compare|check|like|using|use|uses|import|"
    r"imports|match|matches|matching|consistent|shared|already|navigation|given|based|summari[sz]e|translate|"
    r"test|verify|validate|these|those|all|fix)\b",
    re.IGNORECASE,
)
_CAPPED = re.compile(
    r"(?:at most|no more than|not more than|up to|under|below|less than|maximum(?: of)?|max|within)"
    r"\W{1,3}$",
    re.IGNORECASE,
)
_WITHIN = re.compile(
    r"\b(?:of|for|in|from|across|on|to|into)\s+(?:a|an|the|our|this|your)\s+(?:[\w'-]+\s+){0,2}$",
    re.IGNORECASE,
)
"""The whole of which a page is part: "one page of a six-page site" asks for one."""

_EACH = re.compile(r"^\s?(?:for |in |on )?(?:each|every|per|apiece)\b", re.IGNORECASE)
_EACH_BEFORE = re.compile(r"\b(?:each|every)\b[^.\n]{0,48}$", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?;])\s")
_SPLIT = re.compile(r",| and ")
MAX_COUNT = 100_000
_NEAR = 200  # characters before a name in which the verb that rules it is looked for


@dataclass(frozen=True, slots=True)
class Length:
    """An explicit length: `count` of `unit`, `capped` when it is the most that may be written."""

    unit: str
    count: int
    capped: bool


@dataclass(frozen=True, slots=True)
class Asks:
    """`parts` counts by sort of part, `files` are those that the prompt asks to be written."""

    length: Length | None = None
    parts: dict[str, int] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    @property
    def says_nothing(self) -> bool:
        return self.length is None and not self.parts and len(self.files) < 2


def read_asks(prompt: str) -> Asks:
    parts: dict[str, int] = {}
    lengths: list[Length] = []
    container = 1
    for match in _ASK.finditer(prompt):
        unit = _UNITS[match.group(3).lower()]
        count = _middle(match.group(1), match.group(2))
        before = prompt[max(0, match.start() - 64) : match.start()]
        each = _EACH.match(prompt[match.end() : match.end() + 24]) is not None
        each = each or _EACH_BEFORE.search(before) is not None
        total = min(MAX_COUNT, count * container if each else count)
        if unit not in LENGTHS and (
            _is_read(prompt, match.start())
            or _WITHIN.search(before)
            or (unit == "page" and count < 2)
        ):
            continue
        if unit in LENGTHS:
            lengths.append(Length(unit, total, _CAPPED.search(before) is not None))
        else:
            parts[unit] = min(MAX_COUNT, parts.get(unit, 0) + total)
            container = container if each else count
    for name, count in _listed(prompt):
        parts[name] = max(parts.get(name, 0), count)
    points = sum(1 for _ in _POINT.finditer(prompt))
    if points > 1:
        parts["point"] = points
    longest = max(lengths, key=_roughly, default=None)
    return Asks(length=longest, parts=parts, files=_files(prompt))


def _is_read(prompt: str, position: int) -> bool:
    """Whether the sentence up to `position` speaks of what is there already."""
    before = prompt[max(0, position - _NEAR) : position]
    before = before[max(before.rfind("\n"), before.rfind(". ")) + 1 :]
    return not _is_made(before, True)


def _is_made(before: str, otherwise: bool) -> bool:
    """Whether what follows `before` is to be made: the last verb says it, without one the rest."""
    reads = max((match.start() for match in _READS.finditer(before)), default=-1)
    makes = max((match.start() for match in _MAKES.finditer(before)), default=-1)
    return otherwise if reads == makes else makes > reads


def _middle(low: str, high: str | None) -> int:
    first = _number(low)
    return first if high is None else (first + max(first, _number(high))) // 2


def _number(text: str) -> int:
    word = text.lower()
    return _NUMBERS[word] if word in _NUMBERS else int(word.replace(",", ""))


def _roughly(length: Length) -> float:
    """Words, so that a length of the whole beats that of a part."""
    return length.count * {"line": 9.0, "character": 0.18, "sentence": 17.0}.get(length.unit, 1.0)


def _listed(prompt: str) -> Iterator[tuple[str, int]]:
    for match in _LISTED.finditer(prompt):
        pieces = [piece for piece in _SPLIT.split(match.group(3)) if piece.strip()]
        if len(pieces) > 1 and not _is_read(prompt, match.start()):
            yield _UNITS[(match.group(1) or match.group(2)).lower()], len(pieces)


def _files(prompt: str) -> tuple[str, ...]:
    """Files named in sentences that ask for something to be made and refer to nothing else."""
    found: dict[str, None] = {}
    listing = False  # the line before announced a list of what to make
    for line in prompt.splitlines():
        point = _POINT.match(line) is not None
        making = listing and point
        for sentence in _SENTENCE.split(line):
            for match in _FILE.finditer(sentence):
                if _is_made(sentence[max(0, match.start() - _NEAR) : match.start()], making):
                    found[match.group(1)] = None
            making = making or _MAKES.search(sentence) is not None
        if not point and line.strip():
            listing = making and line.rstrip().endswith(":")
    return tuple(found)
