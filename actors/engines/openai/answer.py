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

_ENDS: tuple[tuple[str, FinishReason | None], ...] = (
    (r"filter|safety|recitation|sensitive|guardrail|block|prohibit|toxic|moderat|policy|spii",
     "error"),
    (r"error|fail|malform|unexpected|invalid|abort|cancel|interrupt|crash|network|resource|quota",
     "abort"),
    (r"overload|\brate|\btime", "abort"),
    (r"\b(?:un\w+|no|not|null|none|in progress|continue)\b", None),
    (r"length|\bmax|limit|truncat|incomplete|context|budget", "length"),
    (r"\b(?:stop\w*|eos|end\w*|done|complete[sd]?|finish(?:ed)?|success\w*)\b|^s$", "stop"),
    (r"\b(?:normal|pause|tool|function)\b", "stop"),
)  # fmt: skip
"""What the words of a finish reason mean, the first that fits: servers spell one in many ways."""
_REASON_NAMES = ("finish_reason", "finishReason")
_REASONING = re.compile(r"reason|think|thought")
_REASONING_PART = re.compile(r"think|reason|summary|thought")
_PART_NAMES = ("text", "thinking", "reasoning", "think", "summary", "content", "value")
_NO_REASONING = re.compile(r"finish|stop|effort|token|signature|format|budget|redacted|encrypted")
_WORD_END = re.compile(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z]+")
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
        self.calls_tool = False
        self.tool = ""
        self._index: object = None
        self.wrote = False
        self._in_deltas = False
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
        delta = choice.get("delta")
        self._in_deltas = self._in_deltas or bool(delta)
        if not delta and not (self._in_deltas and self.tokens):
            delta = choice.get("message")  # whole; behind deltas it only says them again
        source: Mapping[str, object] = delta if isinstance(delta, dict) else {}
        if not source and "delta" not in choice:
            source = choice
        for name in _REASON_NAMES:
            self._finish(choice.get(name) or source.get(name))
        self._tools(source)
        if isinstance(said := source.get("refusal"), str):
            self.refusal = (self.refusal + said)[:500]
        index = choice.get("index")
        if self._index is not None and index not in (None, self._index):
            return None  # of several answers one is read
        content = source.get("content", source.get("text"))
        text = self._text.add("".join(_texts(content, thinking=False)))
        thought = _reasoning_in(source) or _reasoning_in(choice)
        reasoning = self._reasoning.add(thought + "".join(_texts(content, thinking=True)))
        if not text and not reasoning:
            return None
        self._index = index
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
        meaning = _meaning(reason)
        if meaning == "error":
            self.filtered = self.filtered or reason.strip()[:80]
        if meaning in (None, "abort"):
            self.odd_finish = repr(reason)[:80]
        if self.finish is None:
            self.finish = meaning

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
        for call in calls[:8] if isinstance(calls, list) else [calls]:
            if isinstance(call, dict):
                function = call.get("function", call)
                name = function.get("name") if isinstance(function, dict) else None
                self.calls_tool = True
                self.tool = self.tool or (name[:80] if isinstance(name, str) else "")


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
    first = choices[0] if isinstance(choices, list) and choices else choices
    return first if isinstance(first, dict) else None


def _meaning(reason: str) -> FinishReason | None:
    words = _WORD_END.sub(" ", reason[:80]).lower().strip().removeprefix("finish reason").strip()
    return next((end for rule, end in _ENDS if re.search(rule, words)), None)


def _reasoning_in(source: Mapping[str, object]) -> str:
    """The reasoning in the fields that name it. Several fields say the same."""
    for name, value in sorted(source.items(), key=lambda item: not isinstance(item[1], str)):
        if name == "provider_specific_fields" and isinstance(value, dict):
            said = _reasoning_in(value)
        elif _REASONING.search(name) and not _NO_REASONING.search(name):
            said = "".join(_texts(value, thinking=None))
        else:
            continue
        if said:
            return said
    return ""


def _texts(content: object, *, thinking: bool | None, depth: int = 0) -> Iterator[str]:
    """The text parts of a content, or its thinking parts; both for None."""
    if isinstance(content, str):
        if not thinking:
            yield content
    elif isinstance(content, list) and depth < _DEEPEST:
        for part in content:
            yield from _texts(part, thinking=thinking, depth=depth + 1)
    elif isinstance(content, dict) and depth < _DEEPEST:
        kind = str(content.get("type") or "text")
        thought = _REASONING_PART.search(kind) is not None
        if _NO_REASONING.search(kind) or (thinking is not None and thought != thinking):
            return
        if thought or thinking is None or kind.endswith(("text", "text_delta")):
            for name in _PART_NAMES:
                if said := content.get(name):
                    yield from _texts(said, thinking=None if thought else thinking, depth=depth + 1)
                    return


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
