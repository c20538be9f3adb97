"""The scripted engine's tokens, and its prefix cache, which is only counted.

A token is a piece of at most nine characters, cut at word boundaries. A word of up to eight
characters is one token together with one space before it, a longer word is several, a punctuation
mark is one, and so is a run of up to eight blanks. The pieces joined give the text back exactly. It
is about as fine as a real tokenizer on English prose, costs no model file, and is the same
everywhere.
"""

from __future__ import annotations

import random
import re
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache

LONGEST_TOKEN = 9
_PROSE = 4096
_PIECE = re.compile(r"\s?\w{1,8}|\s?[^\w\s]|\s{1,8}")
_WORDS = (  # noqa: SIM905
    "the a of to and in it is was that with for on as light water stone quiet morning window "
    "garden river letter small answer while under between paper silver evening"
).split()


def tokenize(text: str) -> list[str]:
    """Linear in the length of the text."""
    return _PIECE.findall(text)


def fewest_tokens(text: str) -> int:
    """A lower bound of `len(tokenize(text))` that costs nothing."""
    return -(-len(text) // LONGEST_TOKEN)


def filler(tokens: int, seed: str) -> list[str]:
    """So many tokens of plain prose, the same for the same seed. A seed chooses where in one long
    text they begin, so that an answer costs nothing to make."""
    prose = _prose()
    start = zlib.crc32(seed.encode()) % len(prose)
    pieces = prose[start : start + tokens]
    while len(pieces) < tokens:
        pieces += prose[: tokens - len(pieces)]
    if pieces:
        pieces[0] = pieces[0].lstrip()
    return pieces


def rest_of_filler(tokens: int, seeds: Sequence[str], written: str) -> list[str]:
    """Filler of the last seed; or, where `written` began the filler of an earlier one, its rest."""
    for seed in seeds if written else ():
        text = "".join(filler(tokens, seed))
        if text.startswith(written):
            return tokenize(text.removeprefix(written))
    return filler(tokens, seeds[-1])


@cache
def _prose() -> list[str]:
    draw = random.Random("prose")
    prose: list[str] = []
    while len(prose) < _PROSE:
        first, *others = draw.choices(_WORDS, k=draw.randint(6, 14))
        prose += [f" {first.capitalize()}", *(f" {word}" for word in others), "."]
    return prose


class SimulatedPrefixCache:
    """Counts which leading blocks of a prompt were seen before: at most `blocks` blocks of
    `block_tokens` tokens each, the least recently used leave first. Blocks are chained, as in
    vLLM's cache: a block's key holds the key of the one before it, so a hit on a block is a hit on
    everything before it."""

    def __init__(self, block_tokens: int, blocks: int) -> None:
        self._block_tokens = block_tokens
        self._blocks = blocks
        self._seen: OrderedDict[int, None] = OrderedDict()

    def admit(self, tokens: list[str]) -> int:
        """How many leading tokens were cached; afterwards all full blocks are. The last token of a
        prompt is always computed, so the answer is below `len(tokens)`."""
        if not self._blocks:
            return 0
        size, key, hits, hitting = self._block_tokens, 0, 0, True
        for start in range(0, len(tokens) - size + 1, size):
            key = hash((key, *tokens[start : start + size]))
            hitting = hitting and key in self._seen and start + size < len(tokens)
            hits += hitting
            self._seen[key] = None
            self._seen.move_to_end(key)
        while len(self._seen) > self._blocks:
            self._seen.popitem(last=False)
        return hits * size
