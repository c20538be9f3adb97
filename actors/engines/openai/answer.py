"""An answer as it grows out of a server's events.

It is complete with a finish reason that is one, or with `[DONE]`; nothing that comes later takes
that back. Any other value in the field says nothing, so a stream that ends there was cut. Content
comes as text, as a list of parts, or whole in one JSON document. Reasoning is progress: it counts
as tokens and stays apart from the text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping

from familiar.engine import Delta, FinishReason

_FILTERS = ("content_filter", "safety", "recitation")
_FINISH: dict[str, FinishReason] = {
    **dict.fromkeys(
        ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed",
         "tool_calls", "function_call", "tool_use"),
        "stop",
    ),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), "length"),
    "abort": "abort",
    **dict.fromkeys((*_FILTERS, "error"), "error"),
}  # fmt: skip
_REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_text")
_MOST_TOKENS = 10**9
_DEEPEST = 4
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class Answer:
    """One stream so far. `tokens` counts events until the server's usage says better."""

    def __init__(self) -> None:
        self.finish: FinishReason | None = None
        self.done = False
        self.odd_finish = ""
        self.refusal = ""
        self.filtered = ""
        self.tool = ""
        self.wrote = False
        self.tokens = self.prompt_tokens = self.cached_tokens = 0
        self._exact: int | None = None
        self._text = WholeCharacters()
        self._reasoning = WholeCharacters()

    @property
    def complete(self) -> bool:
        return self.done or self.finish is not None

    def read(self, event: Mapping[str, object]) -> Delta | None:
        self._usage(event)
        choice = _choice(event)
        if choice is None:
            return None
        self._finish(choice.get("finish_reason"))
        delta = choice.get("delta")
        if not isinstance(delta, dict) or not delta:
            delta = choice.get("message")
        source: Mapping[str, object] = delta if isinstance(delta, dict) else choice
        self._tools(source)
        if isinstance(said := source.get("refusal"), str):
            self.refusal = (self.refusal + said)[:500]
        content = source.get("content", source.get("text"))
        text = self._text.add("".join(_texts(content, thinking=False)))
        thought = next((t for name in _REASONING if (t := _flat(source.get(name)))), "")
        thought = thought or "".join(_details(source.get("reasoning_details")))
        reasoning = self._reasoning.add(thought + "".join(_texts(content, thinking=True)))
        if not text and not reasoning:
            return None
        self.wrote = self.wrote or bool(text)
        self.tokens += 1
        return Delta(text, 1, reasoning=reasoning)

    def last(self) -> Delta:
        """The end of a complete answer."""
        off = 0 if self._exact is None else self._exact - self.tokens
        rest = self._text.end()
        return Delta(rest, off, self.finish or "stop", self.prompt_tokens, self.cached_tokens)

    def _finish(self, reason: object) -> None:
        if not isinstance(reason, str):
            self.odd_finish = self.odd_finish if reason is None else repr(reason)[:80]
            return
        known = _FINISH.get(reason.strip().lower())
        if reason.strip().lower() in _FILTERS:
            self.filtered = self.filtered or reason.strip()
        if known is None:
            self.odd_finish = repr(reason)[:80]
        elif self.finish is None:
            self.finish = known

    def _usage(self, event: Mapping[str, object]) -> None:
        usage = event.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = count(usage.get("prompt_tokens")) or self.prompt_tokens
            self._exact = count(usage.get("completion_tokens")) or self._exact
            details = usage.get("prompt_tokens_details")
            if isinstance(details, dict):
                self.cached_tokens = count(details.get("cached_tokens")) or self.cached_tokens
        timings = event.get("timings")
        if isinstance(timings, dict) and not self.prompt_tokens:  # llama.cpp without usage
            self.cached_tokens = count(timings.get("cache_n"))
            self.prompt_tokens = count(timings.get("prompt_n")) + self.cached_tokens
            self._exact = count(timings.get("predicted_n")) or self._exact

    def _tools(self, source: Mapping[str, object]) -> None:
        calls = source.get("tool_calls") or source.get("function_call")
        first = calls[0] if isinstance(calls, list) and calls else calls
        if isinstance(first, dict):
            function = first.get("function", first)
            name = function.get("name") if isinstance(function, dict) else None
            self.tool = self.tool or (name[:80] if isinstance(name, str) and name else "")
            self.tool = self.tool or "without a name"


def count(value: object) -> int:
    """A number of tokens, however it is written; 0 for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        number = int(float(value[:20])) if isinstance(value, str) else int(value)
    except (ValueError, OverflowError):
        return 0
    return number if 0 <= number < _MOST_TOKENS else 0


def _choice(event: Mapping[str, object]) -> Mapping[str, object] | None:
    choices = event.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return None


def _flat(value: object) -> str:
    return "".join((*_texts(value, thinking=False), *_texts(value, thinking=True)))


def _details(value: object) -> Iterator[str]:
    for part in value if isinstance(value, list) else ():
        if isinstance(part, dict):
            said = part.get("text") or part.get("summary")
            if isinstance(said, str):
                yield said


def _texts(content: object, *, thinking: bool, depth: int = 0) -> Iterator[str]:
    """The text parts of a content, or its thinking parts."""
    if isinstance(content, str):
        if not thinking:
            yield content
    elif isinstance(content, list) and depth < _DEEPEST:
        for part in content:
            yield from _texts(part, thinking=thinking, depth=depth + 1)
    elif isinstance(content, dict) and depth < _DEEPEST:
        kind = str(content.get("type") or "text")
        if kind in ("thinking", "reasoning", "reasoning_text", "summary_text"):
            if thinking:
                said = content.get("thinking") or content.get("reasoning") or content.get("text")
                yield from _texts(said, thinking=False, depth=depth + 1)
        elif kind in ("text", "output_text"):
            yield from _texts(content.get("text"), thinking=thinking, depth=depth + 1)


class WholeCharacters:
    """One stream of text, whose characters the server may have cut in two: tokens are bytes, so a
    character may begin in one delta and end in the next, as two halves of a UTF-16 surrogate pair,
    or as raw bytes of UTF-8, which come as `surrogateescape` writes them. A half that stays alone
    becomes U+FFFD, so no text with a lone surrogate leaves an engine."""

    def __init__(self) -> None:
        self._high = ""
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = False

    def add(self, text: str) -> str:
        if not self._high and not self._open and not _SURROGATE.search(text):
            return text
        text = self._high + text
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        self._high = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = _NO_BYTE.sub("\ufffd", text[: len(text) - len(self._high)])
        whole = self._bytes.decode(text.encode("utf-8", "surrogateescape"))
        self._open = bool(self._bytes.getstate()[0])
        return whole

    def end(self) -> str:
        """The rest of a character that never became whole."""
        left = self._bytes.decode(b"", final=True) + ("\ufffd" if self._high else "")
        self._high, self._open = "", False
        return left
