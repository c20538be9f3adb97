"""How many tokens a planned call will probably write: a stated formula, not a model.

    explicit length   tokens = count x tokens a unit of it has (a cap is used to four fifths);
                      around words and sentences of HTML, its frame
    counted parts     tokens = the file's frame + sum over parts of count x tokens of such a part
    several files     the sum over the files, each at least as long as a short file of its kind
    nothing said      the median length of a file of the kind

The asks are those of the prompt; where it says nothing, those of what the goal says about the
output_file. `at_least` is what nine of ten such texts exceed: rules about a plan use it. A
stated length may reject a plan for good; a guess only questions it once (`capacity`). A call that
says nothing of its length can always be written short: its `at_least` is 0.

The constants are fitted by `bench/estimate.py --fit` on the dev half of real files (README texts,
HTML pages, modules, YAML and plain text of installed packages; tokens by the embedded tokenizer,
49k vocabulary); the bench prints the error on the other half. Linear in the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from familiar.event import PlannedCall
from familiar.goal import Goal
from familiar.plan.asks import Asks, Length, read_asks

TOKENS_PER: Mapping[str, Mapping[str, float]] = {
    "html": {"word": 2.8, "line": 15.0, "frame": 610.0, "file": 1600.0, "section": 43.0,
        "paragraph": 71.0, "item": 20.0, "row": 40.0, "page": 1600.0},
    "md": {"word": 2.3, "line": 12.0, "frame": 120.0, "file": 910.0, "section": 72.0,
        "item": 53.0, "row": 40.0, "example": 65.0, "page": 910.0},
    "py": {"word": 2.6, "line": 8.9, "frame": 210.0, "file": 1300.0, "function": 120.0,
        "class": 100.0, "page": 1300.0},
    "yaml": {"word": 3.0, "line": 8.0, "frame": 20.0, "file": 320.0, "key": 13.0, "item": 55.0,
        "page": 320.0},
    "txt": {"word": 2.5, "line": 14.0, "frame": 440.0, "file": 560.0, "paragraph": 29.0,
        "page": 560.0},
}  # fmt: skip
"""Tokens for each unit of a length or part, and of what a file of the kind has around its parts."""

ANSWER: Mapping[str, float] = {
    "word": 1.5, "line": 14.0, "frame": 40.0, "file": 300.0, "section": 110.0, "paragraph": 90.0,
    "item": 30.0, "row": 30.0, "example": 80.0, "function": 110.0, "class": 80.0, "key": 8.0,
    "page": 500.0,
}  # fmt: skip
"""For answers without a file, and for parts that a kind of file usually does not have."""

ANY: Mapping[str, float] = {"token": 1.0, "character": 0.28, "sentence": 24.0, "point": 45.0,
                            "table": 120.0}  # fmt: skip

SURE = 0.6
"""Of the estimate from counted parts, what nine of ten texts exceed (dev half)."""

SURE_LENGTH = 0.7
"""The same for an explicit length; half of it where the length is the most that may be written."""

SURE_FILES, SURE_MANY_FILES = 0.45, 0.65
"""The same for two or three whole files in one call, and for four or more, where long and short
ones even out: tenth percentiles of sums of files that were drawn from the dev half."""

_READ = frozenset({"word", "sentence"})
"""Units of what is read, around which an HTML file has its frame."""

CAPPED = 0.8
"""Share of a cap that a text uses."""

LONGEST_GOAL = 50_000
"""Characters of a goal that is searched for what it says of a file, once for each call."""

_KINDS = {"html": "html", "htm": "html", "md": "md", "py": "py", "js": "py", "sql": "py",
          "css": "py", "yaml": "yaml", "yml": "yaml", "toml": "yaml", "json": "yaml",
          "txt": "txt"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Estimate:
    """`tokens` is the expectation, `at_least` what nine of ten such texts exceed, `why` the sum.
    `stated` is True where the call's own prompt asks for a length; anything else is a guess."""

    tokens: int
    at_least: int
    why: str
    stated: bool = False


def estimate_output(call: PlannedCall, goal: Goal | None = None) -> Estimate:
    """The probable length of the answer to `call`, in tokens of a 49k vocabulary."""
    asks = read_asks(call.prompt)
    if asks.says_nothing and call.output_file and goal and len(goal.text) <= LONGEST_GOAL:
        # The other files that the goal speaks of there are other calls' work.
        asks = replace(read_asks(goal.about(call.output_file)), files=())
        return replace(estimate_asks(asks, call.output_file), stated=False)
    return estimate_asks(asks, call.output_file)


def estimate_asks(asks: Asks, output_file: str | None) -> Estimate:
    """The formula, for asks that were read already."""
    kind = kind_of(output_file)
    if asks.length is not None:
        return _by_length(asks.length, kind)
    parts = _by_parts(asks.parts, kind)
    files = tuple(dict.fromkeys((*filter(None, (output_file,)), *asks.files)))
    if len(files) > 1:
        whole = sum(_per(kind_of(name), "file") for name in files)
        if whole > parts.tokens:
            why = f"{len(files)} files ({', '.join(files[:6])}), usual ones of their kinds"
            return Estimate(round(whole), round(whole * _sure_of_files(len(files))), why)
    if asks.parts:
        return parts
    usual = round(_per(kind, "file"))
    return Estimate(usual, 0, f"a usual {kind or 'answer'}, since no length is asked for")


def words_in(tokens: float, output_file: str | None) -> int:
    """Words that `tokens` hold in a file of that kind."""
    return int(tokens / _per(kind_of(output_file), "word"))


def kind_of(path: str | None) -> str:
    """The kind of file that the constants know; "" for an answer or another kind."""
    if path is None:
        return ""
    return _KINDS.get(path.rpartition(".")[2].lower(), "")


def _per(kind: str, unit: str) -> float:
    own = TOKENS_PER.get(kind, ANSWER)
    return own[unit] if unit in own else ANSWER[unit] if unit in ANSWER else ANY[unit]


def _by_length(length: Length, kind: str) -> Estimate:
    each = _per(kind, length.unit)
    frame = _per(kind, "frame") if kind == "html" and length.unit in _READ else 0.0
    whole = length.count * each + frame
    tokens = whole * CAPPED if length.capped else whole
    sure = whole * SURE_LENGTH * (0.5 if length.capped else 1.0)
    most = "at most " if length.capped else ""
    why = f"{most}{length.count} {_plural(length.unit, length.count)} of {each:g} tokens"
    return Estimate(round(tokens), round(sure), why, stated=True)


def _by_parts(parts: Mapping[str, int], kind: str) -> Estimate:
    terms, tokens, least = [], _per(kind, "frame"), 0.0
    for name, count in parts.items():
        whole = count * _per(kind, name)
        terms.append(f"{count} {_plural(name, count)} of {_per(kind, name):g} tokens")
        tokens += whole
        least += whole * (_sure_of_files(count) if name == "page" else SURE)
    return Estimate(round(tokens), round(least), " + ".join(terms))


def _sure_of_files(count: int) -> float:
    return SURE if count < 2 else SURE_FILES if count < 4 else SURE_MANY_FILES


def _plural(name: str, count: int) -> str:
    if count == 1:
        return name
    return f"{name}es" if name.endswith("s") else f"{name}s"
