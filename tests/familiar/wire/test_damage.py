"""Damaged markup never changes a value: a call is read as it was meant, or it is not made.

Each tag of a well-written answer is left out, doubled, halved, or everything behind it cut away.
Whatever is still called must be one of the calls that were written, with the arguments it had.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from familiar.wire import parse_output
from tests.familiar.wire.writers import WRITERS, Call

TOOLS = [
    {
        "name": "write_file",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
            "required": ["path", "content"],
            "additionalProperties": False,
        },
    },
    {
        "name": "run",
        "parameters": {
            "type": "object",
            "properties": {"command": {"type": "string"}, "timeout": {"type": "integer"}},
            "required": ["command"],
            "additionalProperties": False,
        },
    },
]
CALLS: list[Call] = [
    ("write_file", {"path": "src/a.html", "content": "<p>one &amp; two</p>\n<p>three</p>"}),
    ("run", {"command": "ls -l | wc", "timeout": 30}),
]
TAG = re.compile(r"\]<\]minimax\[>\[</?[^<>]*>|<\|\"\|>|<(?!/?p>)[^<>]{1,80}>|\[[A-Z_]+\]")


def damaged(text: str) -> Iterator[tuple[str, str]]:
    """Every variant of `text` with one tag damaged, and what was done."""
    for match in TAG.finditer(text):
        low, high = match.span()
        yield f"without {match.group()} at {low}", text[:low] + text[high:]
        yield f"doubled {match.group()} at {low}", text[:high] + text[low:]
        yield f"cut behind {match.group()} at {low}", text[:high]
        yield f"half of {match.group()} at {low}", text[: (low + high) // 2] + text[high:]


@pytest.mark.parametrize("dialect", sorted(WRITERS))
def test_a_damaged_tag_never_changes_a_value(dialect: str) -> None:
    written = [(name, dict(arguments)) for name, arguments in CALLS]
    kept = 0
    for done, text in damaged(WRITERS[dialect](CALLS)):
        parsed = parse_output(text, dialect=dialect, tools=TOOLS, finish_reason="stop")
        calls = [(call.name, dict(call.arguments)) for call in parsed.calls if not call.violations]
        kept += len(calls)
        for call in calls:
            assert call in written, done
    assert kept > 0 or not TAG.search(WRITERS[dialect](CALLS))
