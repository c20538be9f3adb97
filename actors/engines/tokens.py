"""The scripted engine's tokens: pieces of at most nine characters, cut at word boundaries.

A word of up to eight characters is one token together with one space before it, a longer word is
several, a punctuation mark is one, and so is a run of up to eight blanks. The pieces joined give
the text back exactly. It is about as fine as a real tokenizer on English prose, costs no model
file, and is the same everywhere.
"""

from __future__ import annotations

import random
import re

LONGEST_TOKEN = 9
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
    """So many tokens of plain prose, the same for the same seed."""
    draw = random.Random(seed)
    words: list[str] = []
    while len(words) < tokens:
        sentence = [draw.choice(_WORDS) for _ in range(draw.randint(6, 14))]
        pieces = [sentence[0].capitalize(), *(f" {word}" for word in sentence[1:]), "."]
        if words:
            pieces[0] = f" {pieces[0]}"
        words += pieces
    return words[:tokens]
