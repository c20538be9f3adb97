"""Random words of an EBNF grammar, in the part of xgrammar's notation that our grammars use:
literals, character classes, names, groups, `|`, and the repetitions `?`, `+`, `{n}`, `{m,n}`."""

from __future__ import annotations

import random
import re

_TOKEN = re.compile(
    r"""\s*(?:(?P<literal>"(?:[^"\\]|\\.)*")|(?P<chars>\[(?:[^\]\\]|\\.)+\])|(?P<name>[a-z_]+)"""
    r"""|(?P<repeat>[?+]|\{\d+(?:,\d+)?\})|(?P<mark>[()|]))"""
)
_RULE = re.compile(r"^(\w+)\s*::=\s*(.*)$", re.MULTILINE)


def walk(grammar: str, choose: random.Random) -> str:
    """One text of the grammar."""
    rules = dict(_RULE.findall(grammar))
    return _alternatives(_tokens(rules["root"]), rules, choose)


def literals(grammar: str) -> list[str]:
    """Every literal, as it would be written."""
    return [
        _unquote(text)
        for rule in dict(_RULE.findall(grammar)).values()
        for kind, text in _tokens(rule)
        if kind == "literal"
    ]


def _tokens(rule: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(rule.rstrip()):
        match = _TOKEN.match(rule, at)
        assert match is not None, f"cannot read the grammar at {rule[at : at + 40]!r}"
        assert match.lastgroup is not None
        found.append((match.lastgroup, match.group(match.lastgroup)))
        at = match.end()
    return found


def _alternatives(
    tokens: list[tuple[str, str]], rules: dict[str, str], choose: random.Random
) -> str:
    options: list[list[tuple[str, str]]] = [[]]
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token[1], 0) if token[0] == "mark" else 0
        if token == ("mark", "|") and depth == 0:
            options.append([])
        else:
            options[-1].append(token)
    return _sequence(choose.choice(options), rules, choose)


def _sequence(tokens: list[tuple[str, str]], rules: dict[str, str], choose: random.Random) -> str:
    out, at = [], 0
    while at < len(tokens):
        kind, text = tokens[at]
        at += 1
        inside: list[tuple[str, str]] = []
        if (kind, text) == ("mark", "("):
            depth, start = 1, at
            while depth:
                depth += {"(": 1, ")": -1}.get(tokens[at][1], 0) if tokens[at][0] == "mark" else 0
                at += 1
            inside = tokens[start : at - 1]
        times = 1
        if at < len(tokens) and tokens[at][0] == "repeat":
            times = _times(tokens[at][1], choose)
            at += 1
        for _ in range(times):
            if kind == "literal":
                out.append(_unquote(text))
            elif kind == "chars":
                out.append(choose.choice(_members(text)))
            elif kind == "name":
                out.append(_alternatives(_tokens(rules[text]), rules, choose))
            else:
                out.append(_alternatives(inside, rules, choose))
    return "".join(out)


def _times(repeat: str, choose: random.Random) -> int:
    if repeat in "?+":
        return choose.randint(0, 1) if repeat == "?" else choose.randint(1, 5)
    low, _, high = repeat.strip("{}").partition(",")
    return choose.randint(int(low), int(high or low))


def _members(chars: str) -> str:
    inside, out, at = chars[1:-1], "", 0
    while at < len(inside):
        if at + 2 < len(inside) and inside[at + 1] == "-":
            out += "".join(map(chr, range(ord(inside[at]), ord(inside[at + 2]) + 1)))
            at += 3
        else:
            out += inside[at]
            at += 1
    return out


def _unquote(literal: str) -> str:
    return literal[1:-1].replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")
