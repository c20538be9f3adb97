"""JSON as models write it: read strictly first, then with repairs of quoting only.

The repairs are raw control characters inside a string, backslashes that start no escape, and quotes
inside a string that were not escaped. A quote is taken for the end of its string only where JSON
could go on behind it. A string with a backslash that starts no escape was written by a hand that
escapes nothing: in a Windows path every backslash of it is text, and where `\\n` could be a line
break or the begin of a name, the text stays unread. Values are never changed, nothing is ever added
at the end: a cut text stays unread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from familiar.wire.limits import MAX_DOCUMENT_BYTES
from familiar.wire.result import Json, Repair


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(written: str) -> float:
    value = float(written)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{written} is too large for a number")
    return value


def read_number(written: str) -> int | float:
    """The number in `written`. Raises `ValueError` where it is no number or too large for one."""
    return _finite(written) if set(written) & set(".eE") else int(written)


_STRICT = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
_LOOSE = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, strict=False)
_OBJECT = re.compile(r"\{(?=\s{0,64}\")")
_SPACE = re.compile(r"[ \t\r\n]*+")
_STOP = re.compile(r'["\\\x00-\x1f]')
_STRAY = re.compile(r"[ \t\r\n]*+[}\]][}\]\s]{0,16}")
_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|.?)|"', re.DOTALL)
_VALID_ESCAPES = frozenset('"\\/bfnrtu')
_DRIVE = re.compile(r"(?<![A-Za-z])[A-Za-z]:\\(?![\\\"])")
_IN_A_NAME = re.compile(r"[\w.:)]\\\w")
_NEXT_KEY = re.compile(r'[ \t\r\n]{0,64}"[^"\n]{0,256}"[ \t\r\n]{0,64}:')
_NEXT_ITEM = re.compile(r'[ \t\r\n]{0,64}["\[{\d\-tfn]')


def skip_space(text: str, position: int) -> int:
    """The offset of the first character at or behind `position` that is no JSON white space."""
    match = _SPACE.match(text, position)
    return match.end() if match else position


def read_json(text: str, position: int) -> tuple[Json, int] | None:
    """The JSON value that starts at `position` and the offset behind it, or none."""
    try:
        value, end = _STRICT.raw_decode(text, position)
    except (ValueError, RecursionError):
        return None
    return value, end


def json_objects(
    text: str, start: int, end: int, *, in_broken: bool = False
) -> Iterator[tuple[int, bool, Json, int]]:
    """Each object that begins in `text[start:end]`: its offset, whether it is whole, its value, and
    how far the reading got. No object is looked for inside another; `in_broken`: unless that one
    is not whole, as long as the reads take less than four times the text."""
    budget = 4 * (end - start) + 4096
    while budget >= 0 and (match := _OBJECT.search(text, start, end)) is not None:
        at, whole, value = match.start(), True, None
        try:
            value, stop = _STRICT.raw_decode(text, at)
        except json.JSONDecodeError as error:
            whole, stop = False, max(error.pos, at + 1)
        except (ValueError, RecursionError):
            whole, stop = False, at + 16_384
        yield at, whole, value, stop
        budget -= stop - at
        start = stop if whole or not in_broken else at + 1


def loads(text: str) -> tuple[Json] | None:
    """All of `text` as one JSON value, in a tuple, or none."""
    found = read_json(text, skip_space(text, 0))
    if found is None or skip_space(text, found[1]) != len(text):
        return None
    return (found[0],)


def ending_at(
    closer: re.Pattern[str], text: str, position: int, end: int
) -> tuple[re.Match[str] | None, bool]:
    """The closing mark behind a value, and whether brackets too many had to be overlooked."""
    found = closer.match(text, skip_space(text, position), end)
    stray = _STRAY.match(text, position, end) if found is None else None
    if stray is not None:
        found = closer.match(text, skip_space(text, stray.end()), end)
    return found, found is not None and stray is not None


def repair_json(text: str, start: int, end: int) -> tuple[Json, int, list[Repair]] | None:
    """The value at `start` of `text[:end]` with its quoting repaired, its end, and the repairs.

    Of each repair the first is named: a text with forty raw line breaks has one defect.
    """
    if end - start > MAX_DOCUMENT_BYTES:
        return None
    repairs: list[Repair] = []
    pieces: list[str] = []
    stack: list[str] = []
    position = start
    while position < end:
        character = text[position]
        if character == '"':
            is_key = bool(stack) and stack[-1] == "{"
            closing = _repair_string(text, position + 1, end, is_key, stack, pieces, repairs)
            if closing is None:
                return None
            position = closing
            continue
        if character in "{[":
            stack.append(character)
        elif character in "}]":
            if not stack or stack.pop()[0] != ("{" if character == "}" else "["):
                return None
        elif character == ":" and stack and stack[-1] == "{":
            stack[-1] = "{:"
        elif character == "," and stack and stack[-1] == "{:":
            stack[-1] = "{"
        pieces.append(character)
        position += 1
        if not stack:
            break
    if stack:
        return None
    try:
        value = _LOOSE.decode("".join(pieces))
    except (ValueError, RecursionError):
        return None
    first = {repair.name: repair for repair in reversed(repairs)}
    return value, position, sorted(first.values(), key=lambda repair: repair.offset)


def whole_json(text: str, start: int, end: int) -> tuple[Json, list[Repair]] | None:
    """All of `text[start:end]` as one value, repaired where it has to be, and the repairs."""
    found = read_json(text, start)
    if found is not None and not text[found[1] : end].strip():
        return found[0], []
    repaired = repair_json(text, start, end)
    if repaired is None or text[repaired[1] : end].strip():
        return None
    return repaired[0], repaired[2]


def _repair_string(
    text: str,
    position: int,
    end: int,
    is_key: bool,
    stack: list[str],
    pieces: list[str],
    repairs: list[Repair],
) -> int | None:
    """Copy one string, repaired, to `pieces`; the offset behind it, or none if it never ends."""
    pieces.append('"')
    begun, first, invalid = position, len(pieces), False
    while (match := _STOP.search(text, position, end)) is not None:
        at = match.start()
        pieces.append(text[position:at])
        character = text[at]
        if character == "\\":
            escape = text[at + 1 : at + 2]
            valid = escape and escape in '"\\/bfnrt'
            if escape == "u":
                valid = re.match(r"[0-9a-fA-F]{4}", text[at + 2 : at + 6]) is not None
            pieces.append(text[at : at + 2] if valid else "\\\\")
            if not valid:
                invalid = True
                repairs.append(Repair("invalid_escape", at))
            position = at + 2 if valid else at + 1
            continue
        if character != '"':
            repairs.append(Repair("raw_control_character", at))
            pieces.append(character)
            position = at + 1
            continue
        if _ends_string(text, at + 1, end, is_key, stack, at == begun):
            if invalid:
                literal = _literal_escapes(text[begun:at])
                if literal is None:
                    return None
                pieces[first:] = [_with_literal(text[begun:at], literal)]
            pieces.append('"')
            return at + 1
        repairs.append(Repair("unescaped_quote", at))
        pieces.append('\\"')
        position = at + 1
    return None


def _literal_escapes(raw: str) -> str | None:
    """Letters behind a backslash that start no escape in `raw`, or none where nobody can tell.

    `raw` holds a backslash that starts no escape, so its author did not escape them. Backspace and
    form feed are never meant; a line break or a tab is, outside of names.
    """
    if _DRIVE.search(raw):
        return "bfnrtu"
    singles = [match for match in _ESCAPE.finditer(raw) if match.group(1) not in (None, '"', "\\")]
    if not any(match.group(1)[:1] in "nrtu" for match in singles if match.group(1)):
        return "bf"
    inside = all(_IN_A_NAME.match(raw, max(0, match.start() - 1)) for match in singles)
    return None if inside else "bf"


def _with_literal(raw: str, literal: str) -> str:
    def written(match: re.Match[str]) -> str:
        escape = match.group(1)
        if escape is None:
            return '\\"'
        kept = escape[:1] in _VALID_ESCAPES and escape[:1] not in literal and escape != "u"
        return match.group() if kept and escape else "\\" + match.group()

    return _ESCAPE.sub(written, raw)


def _ends_string(
    text: str, position: int, end: int, is_key: bool, stack: list[str], empty: bool
) -> bool:
    following = skip_space(text, position)
    if following >= end:
        return not stack
    character = text[following]
    if is_key:
        return character == ":"
    if character == ",":
        ahead = _NEXT_ITEM if stack and stack[-1] == "[" else _NEXT_KEY
        return ahead.match(text, following + 1, end) is not None
    return character in "}]"


def encodable(text: str) -> str:
    """`text` as it can be written as UTF-8; itself where it is Unicode text.

    A JSON string may hold half of a surrogate pair (`"\\ud83c"`): no database, file or reply can
    take it. Two halves that belong together are joined, a lone half becomes U+FFFD.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def encodable_value(value: Json) -> Json:
    """`value` with every string and key encodable. Raises RecursionError for absurd depth."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        return [encodable_value(item) for item in value]
    if isinstance(value, dict):
        return {encodable(key): encodable_value(item) for key, item in value.items()}
    return value
