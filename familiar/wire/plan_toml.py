"""Reading a TOML plan with `tomllib`, which is written in Python and has no bounds of its own.

`tomllib` makes several objects for each table, key and array entry, and takes time in the square of
a dotted key's parts. So the marks that stand for these are counted first, outside of strings and
comments, by one linear pass. A text with too many is not read.
"""

from __future__ import annotations

import re
import tomllib

from familiar.wire.result import Json

_MAX_DOTS = 16
# Every alternative takes what it begins, closed or not, so that no part is looked at twice.
_TOML_TEXT = re.compile(
    r"""\"{3}(?:[^"\\]|\\.|"{1,2}(?!"))*+(?:"{3})?"""
    r"""|'{3}(?:[^']|'{1,2}(?!'))*+(?:'{3})?"""
    r"""|"(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?|\#[^\n]*+""",
    re.DOTALL,
)
# Each begins a table, a value or an array entry.
_MARK = re.compile(r"[=\[{,]")


class TooManyMarks(ValueError):
    """The text has more tables, keys and array entries than a plan needs."""


def read_toml(text: str, max_marks: int) -> dict[str, Json]:
    """The document in `text`.

    Raises `TooManyMarks` for more than `max_marks`, and `ValueError` for all that is not TOML, has
    a key of too many parts or nests too deeply.
    """
    bare = _TOML_TEXT.sub("", text)
    if len(_MARK.findall(bare)) > max_marks:
        raise TooManyMarks("The plan has too many tables, keys and entries. Plan fewer calls.")
    if any(line.count(".") > _MAX_DOTS for line in bare.split("\n")):
        raise ValueError("a key has too many dots")
    try:
        found: dict[str, Json] = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("values nest too deeply") from error
    return found
