"""The shapes of call markup that exist, as data: each dialect is one or more of these.

There are eight shapes. Models differ in the names of their tags and in small freedoms, not in
kind; so a dialect is a row of values here and a scanner is written once per shape. Patterns are
regular expressions in which every repetition is bounded or stops at the next angle bracket, so
that matching never runs back over the text.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TagSyntax:
    """`<wrapper> <call NAME> <param KEY> value </param> </call> </wrapper>`, text between tags.

    The patterns match one tag each. `call_open` and `param_open` carry the name in group 1, or
    attributes (`attributes=True`). `framed`: a value stands on lines of its own.
    """

    wrap_open: str
    wrap_close: str
    call_open: str
    call_close: str
    param_open: str
    param_close: str
    attributes: bool = False
    framed: bool = False
    probes: tuple[str, ...] = ("<function=", "<parameter=", "tool_call>")  # without any: no tags
    mark: str = ""  # a tag without this text is a plain spelling of the dialect's own tag
    foreign_call_open: str = ""  # another model's opener that this one is known to drift into


@dataclass(frozen=True, slots=True)
class PairSyntax:
    """`<call>NAME <key>k</key> <value>v</value> </call>`."""

    call_open: str
    call_close: str
    key_open: str
    key_close: str
    value_open: str
    value_close: str


@dataclass(frozen=True, slots=True)
class ElementSyntax:
    """Arguments are elements named after their keys, every tag behind a marker token."""

    marker: str
    wrapper: str
    call: str
    item: str


@dataclass(frozen=True, slots=True)
class JsonSyntax:
    """`<open> {"name": …, "arguments": {…}} </close>`: the whole call is one JSON value.

    With `bare`, the object may stand anywhere in the text without markup.
    """

    open: str = ""
    close: str = ""
    argument_keys: tuple[str, ...] = ("arguments", "parameters")
    array_only: bool = False
    bare: bool = False
    separator: str = ""


@dataclass(frozen=True, slots=True)
class HeadSyntax:
    """`<open> HEAD <separator> {json} <close>`: only the arguments are JSON.

    `open` carries the head in group 1. `sections` are markers around the calls that mean nothing
    on their own. With `numbered`, the head is `functions.NAME:INDEX`.
    """

    open: str
    close: str
    sections: tuple[str, ...] = ()
    numbered: bool = False


@dataclass(frozen=True, slots=True)
class BraceSyntax:
    """`<open>call:NAME{key:value,…}<close>` with its own string delimiter and bare keys."""

    open: str
    close: str
    quote: str


@dataclass(frozen=True, slots=True)
class PythonSyntax:
    """`[name(key=literal, …), …]`, or one call a line between `open` and `close`."""

    open: str = ""
    close: str = ""


@dataclass(frozen=True, slots=True)
class ChannelSyntax:
    """Messages with a header (channel, recipient) and a body; a recipient makes it a call."""

    start: str
    channel: str
    constrain: str
    message: str
    ends: tuple[str, ...]
    call_end: str
    recipient_prefix: str


Syntax = (
    TagSyntax
    | PairSyntax
    | ElementSyntax
    | JsonSyntax
    | HeadSyntax
    | BraceSyntax
    | PythonSyntax
    | ChannelSyntax
)
