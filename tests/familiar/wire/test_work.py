"""The work for an answer is bounded: a hostile text takes steps in proportion to its length."""

from __future__ import annotations

import random
from functools import partial

from familiar.wire import DIALECT_IDS, parse_output
from tests.familiar.floods import growth

TOOLS = [{"name": "x", "parameters": {"properties": {"a": {"type": "string"}}}}]


def read(dialect: str, text: str) -> None:
    parse_output(text, dialect=dialect, tools=TOOLS)


def test_twice_the_text_takes_twice_the_steps() -> None:
    draw = random.Random(5)
    for found in growth(4_000, 120, draw, lambda: partial(read, draw.choice(DIALECT_IDS))):
        assert found.linear, found
