"""Whether a server's message says that a prompt does not fit, and the numbers that it gives.

Servers word it in dozens of ways, and new ones come with every release, so the rules look for the
parts of the statement instead of whole sentences: a thing that has a size (the context, the prompt,
a count of tokens) and a word that says too much. A rate limit also counts tokens, and a limit of
the answer alone is not cured by a shorter prompt; both are told apart first. The text is a server's
and may be hostile: it is cut to a few thousand characters, and every gap in a rule is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LONGEST_LOOKED_AT = 4096
_MOST_TOKENS = 10**9

_CODE = re.compile(
    r"context_?(?:length|window|size|limit)_?exceeded|exceed(?:s|ed)?_?context|contextwindowexceed"
    r"|context_overflow|context_too_long|(?:prompt|input|request|messages)_too_(?:long|large)"
    r"|max_context_length|input_tokens_exceed|string_above_max_length|content_too_large"
)
_OTHER_LIMIT = re.compile(
    r"per[ _-]?(?:min|hour|day|second|month)|\b(?:tpm|rpm|tpd|rpd|itpm)\b|rate[ _-]?limit|quota"
    r"|too many requests|concurren|billing|credits?\b"
)
_MUCH = (
    r"(?:exceed|overflow|longer|larger|greater|bigger|higher"
    r"|too (?:long|large|big|many|small|short)"
    r"|over the|above|beyond|more than|not fit|n't fit|cannot fit|maximum|out of|not enough|surpass"
    r"|insufficient|only|at most|up to|limited to|full\b|ran out|reached|>)"
)
_CONTEXT = (
    r"(?:context[ _-]?(?:length|window|size|limit|budget|len\b|capacity|overflow)"
    r"|\bn_ctx\b|num_ctx|max_model_len|max_seq_len|model(?:'s)? (?:maximum |max )?"
    r"(?:sequence |input |context |token )?(?:length|limit)|max(?:imum)? (?:allowed |supported )?"
    r"(?:model |input |prompt |sequence |context |total )+(?:length|size|len|tokens?|token count))"
)
_INPUT = (
    r"(?:prompt|inputs?|messages?|conversation|request(?:ed)?|sequence|history|chat|query|text"
    r"|payload|content)"
)
_RULES = tuple(
    re.compile(rule)
    for rule in (
        rf"{_CONTEXT}.{{0,160}}?{_MUCH}",
        rf"{_MUCH}.{{0,160}}?{_CONTEXT}",
        r"context the overflows|overflows? the context|exceed\w* (?:the )?(?:\S+ )?context",
        (
            rf"\b{_INPUT}`?(?: \S+){{0,6}}? (?:is|are|was|were|has become) (?:\w+ )?too "
            r"(?:long|large|big)"
        ),
        rf"\btoo (?:long|large|big) (?:a )?{_INPUT}\b|too (?:long|large) for (?:the |this )?model",
        r"too many (?:input |prompt |total |context )?tokens",
        rf"(?:reduce|shorten|truncate|trim|split)(?: \S+){{0,5}}? {_INPUT}\b",
        (
            rf"\b{_INPUT}`?.{{0,40}}?\btokens?\b.{{0,80}}?(?:exceed|greater|longer|larger|above|beyond"
            r"|over the|more than|must be (?:<|less|at most|smaller|no more)|limit)"
        ),
        (
            rf"\b{_INPUT}`?.{{0,20}}?(?:length|size|count)\b.{{0,40}}?(?:exceed|greater|longer|larger"
            r"|above|must be (?:<|less|at most|smaller))"
        ),
        r"`?inputs?`? (?:tokens )?must have (?:less|fewer) than",
        r"tokens?\b.{0,60}?exceed.{0,60}?(?:limit|maximum|\bmax\b|allowed|capacity|model)",
        (
            r"\d tokens? > \d|exceed\w* (?:\S+ ){0,3}token limit"
            r"|token limit (?:was |is |has been )?(?:exceeded|reached)"
        ),
        r"(?:prompt|input) length is \d|keep (?:from )?the (?:first|initial)",
        r"exceed\w* (?:the )?(?:max\w* )?(?:number of )?(?:input |prompt )?tokens",
        r"larger than the available kv|kv[ _-]?cache.{0,40}?(?:too small|not enough|exceed|space)",
    )
)
_ANSWER_ONLY = re.compile(
    r"max_(?:completion_|output_|new_)?tokens|maxoutputtokens"
    r"|(?:completion|output|generated) tokens"
)
_SIZE_OF_PROMPT = re.compile(r"context|prompt|input|messages|n_ctx|sequence|conversation")

_NUMBER = r"(\d{1,3}(?:[,_]\d{3})+|\d{1,10})"
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
    text = _looked_at(message)
    if _OTHER_LIMIT.search(text):
        return False
    if _CODE.search(text):
        return True
    if _ANSWER_ONLY.search(text) and not _SIZE_OF_PROMPT.search(_without_answer(text)):
        return False
    return status == 413 or any(rule.search(text) for rule in _RULES)


def overflow_numbers(message: str, fields: Mapping[str, object]) -> dict[str, int]:
    """`prompt_tokens` and `context_length`, as far as the fields of the error or its words say
    them."""
    text = _looked_at(message)
    found = {
        "context_length": _field(fields, "n_ctx", "context_length", "max_context_length")
        or _first(_CONTEXT_NUMBERS, text),
        "prompt_tokens": _field(fields, "n_prompt_tokens", "prompt_tokens", "input_tokens"),
    }
    if not found["prompt_tokens"]:
        others = (n for n in _all(_PROMPT_NUMBERS, text) if n != found["context_length"])
        found["prompt_tokens"] = next(others, None)
    return {name: value for name, value in found.items() if value}


def _looked_at(message: str) -> str:
    return " ".join(message[:LONGEST_LOOKED_AT].lower().replace("\u2019", "'").split())


def _without_answer(text: str) -> str:
    return _ANSWER_ONLY.sub(" ", text)


def _field(fields: Mapping[str, object], *names: str) -> int | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST_TOKENS:
            return value
    return None


def _first(rules: tuple[re.Pattern[str], ...], text: str) -> int | None:
    return next(iter(_all(rules, text)), None)


def _all(rules: tuple[re.Pattern[str], ...], text: str) -> list[int]:
    numbers = (re.sub(r"\D", "", m.group(1)) for rule in rules for m in rule.finditer(text))
    return [int(digits) for digits in numbers if 0 < int(digits) < _MOST_TOKENS]
