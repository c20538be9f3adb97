"""Answers made of messages with headers: gpt-oss harmony.

A header names a channel and perhaps a recipient. The recipient decides, not the channel: a
message to `functions.NAME` is a call wherever it stands. `analysis` without a recipient is
reasoning, everything else without one is content. A message to a built-in tool that nobody
offered is named as a problem.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from familiar.wire.found import (
    Block,
    FoundCall,
    TooManyTags,
    Window,
    rejected,
    typed_arguments,
)
from familiar.wire.jsontext import skip_space, whole_json
from familiar.wire.limits import MAX_BROKEN
from familiar.wire.result import Problem

_RECIPIENT = re.compile(r"(?:^|[\s>])to=([^\s<>]{1,256})")
_GLUED = re.compile(r"\s{0,16}(?:assistant)?analysis(?=[A-Z\u00c0-\uffff]|[a-z]{3,64} )")
_CHANNEL_NAME = re.compile(r"\s{0,4}([A-Za-z_]{1,32})")


@dataclass(slots=True)
class Messages:
    """The messages of an answer: texts of reasoning, spans of content, and blocks of calls."""

    reasoning: list[str] = field(default_factory=list)
    content: list[tuple[int, int]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ChannelSyntax:
    """Messages with a header (channel, recipient) and a body; a recipient makes it a call."""

    start: str
    channel: str
    message: str
    ends: tuple[str, ...]
    call_end: str
    recipient_prefix: str

    def scan(self, window: Window) -> list[Block]:
        return self.messages(window, in_reasoning=False).blocks

    def messages(self, window: Window, *, in_reasoning: bool) -> Messages:
        lost = _without_marks(window, self)
        if lost is not None:
            return lost
        marks = re.compile(
            "|".join(re.escape(mark) for mark in (self.start, self.message, *self.ends))
        )
        found = Messages()
        header_start: int | None = window.start
        body_start = window.start
        header = ""
        if not _begins_with_header(window, self):
            header, header_start = ("<|channel|>analysis" if in_reasoning else ""), None
        for match in window.matches(marks):
            if match.group() == self.message and header_start is not None:
                header = window.text[header_start : match.start()]
                header_start, body_start = None, match.end()
                continue
            if header_start is None:
                _message(window, self, found, header, body_start, match)
            elif _recipient(window.text[header_start : match.start()]) is not None:
                found.blocks.append(_stopped(header_start, match.end()))
            header = ""
            header_start = body_start = match.end()
        if header_start is None:
            _message(window, self, found, header, body_start, None)
        elif (tail := window.text[header_start : window.end]).strip():
            if self.channel in tail or header_start == window.start:
                found.blocks.append(_stopped(header_start, window.end))
            else:
                found.content.append((header_start, window.end))
        return found


def _stopped(start: int, end: int) -> Block:
    message = "A message's header has no end, so its text is not certain. Write the message again."
    return rejected("unterminated_call", start, end, message, keep_text=False)


def _without_marks(window: Window, syntax: ChannelSyntax) -> Messages | None:
    """An answer whose marker tokens were dropped on the way: `analysis…assistantfinal…`.

    The words of the headers are glued to the text. Reasoning is told from the answer by them; a
    call among such words has no certain end and is a problem.
    """
    text = window.text[window.start : window.end]
    if syntax.channel in text or syntax.message in text:
        return None
    begun = _GLUED.match(text)
    if begun is None:
        return None
    found = Messages()
    answer = text.rfind("assistantfinal", begun.end())
    call = text.find("assistantcommentary to=", begun.end())
    stop = min((at for at in (answer, call) if at >= 0), default=len(text))
    found.reasoning.append(text[begun.end() : stop])
    if answer >= 0:
        begin = answer + len("assistantfinal")
        begin += len(text[begin:]) - len(text[begin:].lstrip())
        found.content.append((window.start + begin, window.end))
    if call >= 0:
        message = (
            "A call was written without the marks of its message, so its end is not certain. Write "
            "it again. (If this repeats, the engine may be dropping special tokens.)"
        )
        start = window.start + call
        found.blocks.append(rejected("lost_markers", start, window.end, message, keep_text=False))
    return found


def _begins_with_header(window: Window, syntax: ChannelSyntax) -> bool:
    head = window.text[window.start : window.start + 512].lstrip()
    if head.startswith((syntax.start, syntax.channel, "to=")):
        return True
    marked = head.find(syntax.channel)
    return marked >= 0 and head[:marked].strip() == "assistant"


def _message(
    window: Window,
    syntax: ChannelSyntax,
    found: Messages,
    header: str,
    start: int,
    ending: re.Match[str] | None,
) -> None:
    end = ending.start() if ending else window.end
    recipient = _recipient(header)
    if recipient is None:
        channel = ""
        for piece in header.split(syntax.channel)[1:]:
            named = _CHANNEL_NAME.match(piece)
            channel = named.group(1) if named else channel
        if channel == "analysis":
            found.reasoning.append(window.text[start:end])
        else:
            found.content.append((start, end))
        return
    name = recipient.removeprefix(syntax.recipient_prefix)
    block = Block(start, ending.end() if ending else window.end)
    found.blocks.append(block)
    if not recipient.startswith(syntax.recipient_prefix) and name not in window.offered:
        message = f"The message goes to {recipient!r}, which is not an offered tool."
        block.problems.append(Problem("tool_not_offered", start, message))
        return
    call = _call(window, found.blocks, name, start, end)
    if call is not None and ending is None and not call.arguments:
        message = f"The call to {name!r} stops before its arguments. Write the whole call again."
        block.problems.append(Problem("unterminated_call", start, message))
        block.keep_text = True
    elif call is not None:
        call.closed = ending is not None and ending.group() == syntax.call_end
        block.calls.append(call)


def _recipient(header: str) -> str | None:
    for match in _RECIPIENT.finditer(header):
        if match.group(1) != "assistant":
            return match.group(1)
    return None


def _call(window: Window, blocks: list[Block], name: str, start: int, end: int) -> FoundCall | None:
    """The call of the last block. Raises `TooManyTags` for too many that cannot be read."""
    body = skip_space(window.text, start)
    call = FoundCall(name, [], start, end)
    if body >= end:
        return call
    read = whole_json(window.text, body, end)
    arguments = typed_arguments(read[0]) if read is not None else None
    if read is None or arguments is None:
        if sum(bool(block.problems) for block in blocks) > MAX_BROKEN:
            raise TooManyTags
        message = f"The arguments of the call to {name!r} are not one JSON object. Write it again."
        blocks[-1].problems.append(Problem("malformed_json", body, message))
        return None
    call.arguments = arguments
    call.repairs.extend(read[1])
    return call
