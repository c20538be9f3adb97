"""Whether a server's message says that a prompt does not fit, and the numbers that it gives.

Servers word it in dozens of ways, and new ones come with every release, so no sentence is looked
for. The words that name a context, a prompt, a size, an excess or a limit are, and the message says
it where the right ones stand near each other. Limits of a rate, of memory or of the answer alone
count tokens, too; their words are taken out first or decide by themselves. The text is a server's
and may be hostile: it is cut to a few thousand characters, and no pattern has a gap.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping

LONGEST_LOOKED_AT = 4096
_NEAR = 160
_LEAST = 64
"""A smaller number is no size of a prompt or a context."""
_MOST_TOKENS = 10**9
_STATUSES = frozenset({400, 413, 422, 424})
"""An overflow comes with one of these, or as an error of the server itself (5xx)."""

_WORD_END = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_")
_OTHER_LIMIT = re.compile(
    r"per[ -]?(?:min|hour|day|second|month)|(?:month|week|dai|hour)ly\b|\b[io]?[tr]p[mdh]\b"
    r"|rate[ -]?limit|throttl|quota|too many requests|number of requests|concurren|billing"
    r"|credits?\b|please wait|\b(?:gpu|system) memory|out of memory|for memory"
    r"|content-length|\bheaders?\b|logprobs"
)
_ANSWER = re.compile(
    r"max (?:completion |output |new )?tokens|maximum (?:allowed )?(?:number of )?output tokens"
    r"|(?:completion|output|generated|new) tokens|tokens to (?:generate|sample)|budget tokens"
)
_PLAIN = re.compile(r"got -\d|string above max length")
_CONCEPTS = {
    "window": (
        r"context[ -]?(?:length|window|size|limit|budget|len\b|capacity|overflow)|\bn ctx\b|num ctx"
        r"|\bmax (?:model|seq|context) ?len|max position|session len|sequence length"
        r"|(?:model|token)(?:'s)?[ -]window"
    ),
    "context": (
        r"context(?! (?:deadline|cancel))|kontext|kv (?:cache|size)|上下文|コンテキスト|컨텍스트"
    ),
    "input": (
        r"\b(?:prompt|input|message|conversation|request|sequence|history|chat|query|text|payload"
        r"|body|content|dialog|eingabe|anfrage|entr[ée]e|entrada)|输入|請求|请求|提示|入力|입력|запрос"
    ),
    "tokens": r"\btokens\b|\btoken (?:limit|count|length|budget|number|window)|token 数",
    "size": (
        r"\btokens?\b|length|\blen\b|\bsize\b|\blong|\blarge|\bbig|\bchar(?:acter)?s\b|\bbytes\b"
        r"|short|truncat|window|overflow|oversize|长|長|länge|\blang\b|longueur|longitud"
    ),
    "excess": (
        r"exceed|overflow|oversize|exhaust|\bhit\b|surpass|beyond|\bpast\b|reduce|decrease"
        r"|(?:longer|larger|greater|bigger|higher|more) than"
        r"|too (?:long|large|big|many|small)|over the|\bover limit|\babove\b|n[o']t fit|cannot fit"
        r"|out of|enough|no room|insufficient|\bfull\b|ran out|reached|> ?\d|[\d)] > "
        r"|shorten|shorter|truncat|超|过长|過長|長すぎ|초과|превыш|zu (?:lang|groß|viel)|überschr"
        r"|dépass|trop |supera|demasiado"
    ),
    "limit": (
        r"\bmax|limit|at most|\bonly\b|up to|must (?:be|have) (?:<|less|fewer|smaller|no more)"
        r"|less than or equal|should be \[|supports|available|capacity"
    ),
    "number": r"\d[\d,_]{2,}",
}  # fmt: skip
_WORDS = {name: re.compile(words) for name, words in _CONCEPTS.items()}
_SAYINGS = (
    {"window", "excess"},
    {"window", "limit", "number"},
    {"context", "excess"},
    {"context", "tokens", "numbers"},
    {"input", "size", "excess"},
    {"input", "size", "limit", "number"},
    {"tokens", "excess"},
    {"tokens", "limit", "numbers"},
)
"""Words that together say it."""

_NUMBER = r"(\d{1,3}(?:[,_]\d{3})+|\d{1,10})"
_SIZE = re.compile(rf"(?<![\w.-]){_NUMBER}(?![\w.]*\w)")
_STATUS_CODES = range(400, 600)
_CONTEXT_NUMBERS = tuple(
    re.compile(rule)
    for rule in (
        (
            r"(?:context|model)[^.\d]{0,60}?(?:length|window|size|limit|len|n_ctx)"
            rf"[^\d]{{0,30}}?{_NUMBER}"
        ),
        (
            r"(?:<=|less than|fewer than|at most|of only|limit(?:ed)? (?:of|to|:)|maximum (?:of|is)"
            rf"|allowed \(|max(?:imum)?:?|n_ctx[^\d]{{0,6}}|>)[^\d]{{0,12}}{_NUMBER}"
        ),
        rf"{_NUMBER} (?:maximum|token limit|token context)",
        rf"(?:limit|maximum|maximum prompt length is)[^\d]{{0,24}}{_NUMBER}",
    )
)
_PROMPT_NUMBERS = tuple(
    re.compile(rule)
    for rule in (
        (
            rf"{_NUMBER} (?:in your prompt|in the messages|of text input|input tokens|prompt tokens"
            r"|tokens >|tokens from)"
        ),
        (
            r"(?:resulted in|given:|keep the first|requested about|requested:|request contains"
            rf"|you passed|contains|input is|got|has) (?:at least |about )?{_NUMBER}"
        ),
        rf"(?:input|prompt|inputs|token count|requested tokens|request)[^\d.]{{0,24}}{_NUMBER}",
        rf"requested {_NUMBER}",
        rf"{_NUMBER} tokens",
    )
)


def is_overflow(message: str, status: int = 400) -> bool:
    """Whether the message of an error answer says that the prompt is too long for the model."""
    if status not in _STATUSES and status < 500 and status != 429:
        return False
    text = _WORD_END.sub(" ", message[:LONGEST_LOOKED_AT])
    text = _ANSWER.sub(" ", _looked_at(text))
    if _OTHER_LIMIT.search(text):
        return False
    if status == 413 or _PLAIN.search(text):
        return True
    return _says(text, _SAYINGS[:1] if status == 429 else _SAYINGS)


def _says(text: str, sayings: Iterable[set[str]]) -> bool:
    """Whether the words of one of the sayings stand near each other."""
    found = sorted(
        (m.start(), name) for name, words in _WORDS.items() for m in words.finditer(text)
    )
    near: deque[tuple[int, str]] = deque()
    for at, name in found:
        near.append((at, name))
        while near[0][0] < at - _NEAR:
            near.popleft()
        names = [name for _, name in near]
        present = {*names, "numbers"} if names.count("number") > 1 else set(names)
        if any(saying <= present for saying in sayings):
            return True
    return False


def overflow_numbers(message: str, fields: Mapping[str, object]) -> dict[str, int]:
    """`prompt_tokens` and `context_length`, as far as the fields of the error or its words say
    them. Of two numbers the larger one is the prompt, because it did not fit."""
    text = _looked_at(message)
    context = _field(fields, "n_ctx", "context_length", "max_context_length")
    prompt = _field(fields, "n_prompt_tokens", "prompt_tokens", "input_tokens")
    sizes = sorted({n for n in _all((_SIZE,), text) if n >= _LEAST and n not in _STATUS_CODES})
    if not context and not prompt and len(sizes) == 2:
        context, prompt = sizes
    context = context or next((n for n in _all(_CONTEXT_NUMBERS, text) if n >= _LEAST), None)
    prompt = prompt or next(
        (n for n in _all(_PROMPT_NUMBERS, text) if n >= _LEAST and n != context), None
    )
    found = {"context_length": context, "prompt_tokens": prompt}
    return {name: value for name, value in found.items() if value}


def _looked_at(message: str) -> str:
    return " ".join(message[:LONGEST_LOOKED_AT].lower().replace("\u2019", "'").split())


def _field(fields: Mapping[str, object], *names: str) -> int | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST_TOKENS:
            return value
    return None


def _all(rules: tuple[re.Pattern[str], ...], text: str) -> list[int]:
    numbers = (re.sub(r"\D", "", m.group(1)) for rule in rules for m in rule.finditer(text))
    return [int(digits) for digits in numbers if 0 < int(digits) < _MOST_TOKENS]
