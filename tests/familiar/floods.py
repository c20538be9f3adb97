"""Texts made to be expensive: the marks of every dialect and document kind, in every arrangement.

`floods(size)` yields a name and a text of `size` characters at most. A reader is linear when its
`steps` for twice the text are about twice as many.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

MARKS: dict[str, tuple[str, ...]] = {
    "hermes": ("<tool_call>", '{"name": "f", "arguments": {', '"a": "', "}}", "</tool_call>"),
    "functions": ("<tool_call>\n", "<function=x>\n", "<parameter=a>\n", "\n</parameter>\n"),
    "functions end": ("</function>\n", "</tool_call>", "<parameter=a>", "</parameter>"),
    "seed": ("<seed:tool_call>", "<function=x>", "<parameter=a>", "</parameter>", "</function>"),
    "deepseek": (
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁call▁begin｜>f<｜tool▁sep｜>",
        '{"a": "',
        "<｜tool▁call▁end｜>",
    ),
    "dsml": (
        "<｜DSML｜tool_calls>",
        '<｜DSML｜invoke name="x">',
        '<｜DSML｜parameter name="a" string="true">',
        "</｜DSML｜parameter>",
        "</｜DSML｜invoke>",
    ),
    "glm": ("<tool_call>x", "<arg_key>a", "</arg_key>", "<arg_value>", "</arg_value>"),
    "minimax 2": ("<minimax:tool_call>", '<invoke name="x">', '<parameter name="a">', "</invoke>"),
    "minimax 3": (
        "]<]minimax[>[<tool_call>",
        ']<]minimax[>[<invoke name="x">',
        "]<]minimax[>[<a>",
        "]<]minimax[>[</a>",
    ),
    "kimi": (
        "<|tool_calls_section_begin|>",
        "<|tool_call_begin|>functions.x:0<|tool_call_argument_begin|>",
        '{"a": "',
        "<|tool_call_end|>",
    ),
    "mistral": (
        "[TOOL_CALLS]",
        "[TOOL_CALLS]x[ARGS]{",
        '[{"name": "x", "arguments": {',
        "[/THINK]",
    ),
    "llama": ('{"name": "x", "parameters": {', "<|python_tag|>", "; ", "}}", "<|eom_id|>"),
    "pythonic": ("[x(a=", "\n[x(a=[", "'", '"""', ")]", "<function_calls>", "x(a={"),
    "gemma": (
        "<|tool_call>call:x{",
        "a:",
        '<|"|>',
        "}",
        "<tool_call|>",
        "<|channel>",
        "<channel|>",
    ),
    "granite": ("<|tool_call|>[", "<|tool_call|>", "</tool_call>", '[{"name": "x"'),
    "harmony": (
        "<|start|>assistant",
        "<|channel|>commentary to=functions.x",
        "<|channel|>analysis",
        "<|message|>",
        "<|call|>",
        "<|end|>",
    ),
    "plan": (
        "<familiar-abc123>",
        '<call-abc123 id="n" alias="coder">',
        "</call-abc123>",
        "</familiar-abc123>",
        '{"continue": true, "worker_calls": [',
    ),
    "toml": ("[[worker_calls]]\n", 'id = "n"\n', "a.b.c = 1\n", '"""', "'''", '\\"'),
    "html plan": (
        '<familiar-plan-abc123 data-continue="true">',
        '<worker-call-abc123 data-id="n">',
        "</worker-call-abc123>",
        "</familiar-plan-abc123>",
    ),
    "reasoning": ("<think>", "</think>", "`<think>`", "</think>\n", "[THINK]", "<thinking>"),
    "more reasoning": ("<|channel|>analysis", "<|channel|>final", "<scratchpad>", "◁think▷"),
    "turns": ("<|im_end|>", "<|eot_id|>", "<｜end▁of▁sentence｜>", "</s>", "[e~["),
    "fences": ("```\n", "````md\n", "~~~\n", "```py\n", "`", "# a\n", "Here is:\n"),
    "page": (
        "<table>",
        "<p>",
        "<b>",
        "<a>",
        "</b>",
        "</p>",
        "<!--",
        "-->",
        "&amp",
        "<!DOCTYPE html>",
    ),
    "tables": ("<table><tr><td>", "<select>", "<form>", "<svg>", "<math>", "</table>", "<main>"),
    "contract": ("<header>", "<footer>", "<nav>", "</header>", '<header data-palette="'),
    "json": ("{", "[", '{"a":', '"', "\\", "\\u", "}", "]", ":", ","),
    "calls": ('{"tool_calls": [', '{"function": {', '{"type": "function"', '{"name": "x"}\n'),
    "plain": ("<", ">", "a.", " ", "\n", "\r\n", "\ufeff", "(", "'", "a: ", "x <", "\\n"),
}


def floods(size: int) -> Iterator[tuple[str, str]]:
    """Each mark repeated and on lines; each pair alternated and nested; each group in a row."""
    for group, marks in MARKS.items():
        for mark in marks:
            yield f"{group}: {mark!r} repeated", _repeated(mark, size)
            yield f"{group}: {mark!r} on lines", _repeated(f"{mark}x\n", size)
        for first in marks:
            for second in marks:
                if first != second:
                    yield f"{group}: {first!r} and {second!r}", _repeated(first + second, size)
                    half = size // 2
                    nested = _repeated(first, half) + _repeated(second, half)
                    yield f"{group}: {first!r} then {second!r}", nested
        for count in range(2, len(marks) + 1):
            yield f"{group}: {count} in a row", _repeated("".join(marks[:count]), size)
            begun = "".join(marks[:count])
            yield f"{group}: {count} and a long end", (begun + _repeated("x ", size))[:size]
            yield f"{group}: {count} values", _repeated(begun + "v", size)


def _repeated(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[:size]


def steps(read: Callable[[], object]) -> int:
    """How many calls of functions, Python's own and built-in ones, `read` makes."""
    count = 0

    def counted(*event: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(counted)
    try:
        read()
    finally:
        sys.setprofile(None)
    return count


@dataclass(frozen=True, slots=True)
class Growth:
    """The steps for a flood, and for one of twice its size."""

    flood: str
    reader: str
    once: int
    twice: int

    @property
    def ratio(self) -> float:
        """About 2 is linear; a text that takes few steps has a share that does not grow."""
        return self.twice / (self.once + 4_000)

    @property
    def linear(self) -> bool:
        return self.ratio <= 2.2


def growth(
    size: int, count: int, draw: random.Random, reader: Callable[[], Callable[[str], object]]
) -> Iterator[Growth]:
    """The growth of `count` floods that `draw` picks, each with a reader of its own."""
    pairs = list(zip(floods(size), floods(2 * size), strict=True))
    for (name, once), (_, twice) in draw.sample(pairs, count):
        read = reader()
        few, many = (steps(partial(read, text)) for text in (once, twice))
        yield Growth(name, str(getattr(read, "args", "")), few, many)
