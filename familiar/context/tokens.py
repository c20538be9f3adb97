"""The number of tokens of a text, without a tokenizer: one careful estimate for all.

The core has no model's vocabulary, and a window has to be kept before a prompt is sent. An estimate
that is too high compacts a little early; one that is too low overflows the context, so it errs
high.
"""

from __future__ import annotations

from collections.abc import Iterable

from familiar.config.schema import AliasConfig, Config
from familiar.engine import Message

CHARS_PER_TOKEN = 3.0
"""English prose, HTML and JSON have 3.2 to 4.5 characters a token in BPE vocabularies."""
MESSAGE_TOKENS = 6
"""Tokens that a chat template writes around a message."""
MIN_WINDOW = 256


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, rounded up. Text outside of Latin scripts counts by its UTF-8 bytes, as
    vocabularies that lack a script fall back to bytes."""
    size = len(text) if text.isascii() else (len(text) + len(text.encode("utf-8", "replace"))) / 2
    return int(size / CHARS_PER_TOKEN) + 1


def prompt_tokens(messages: Iterable[Message]) -> int:
    return sum(estimate_tokens(message.content) + MESSAGE_TOKENS for message in messages)


def window_of(alias: AliasConfig, config: Config) -> int:
    """Prompt tokens that a call of `alias` may have: as configured, but never more than
    its model's context leaves beside the answer."""
    room = config.pools[alias.pool].context_length - alias.sampling.max_tokens
    return max(min(alias.window_tokens or room, room), MIN_WINDOW)
