"""A prefix cache that is only counted: which leading blocks of a prompt were seen before.

Blocks are chained (a block's key holds the key of the one before it), as in vLLM's cache, so a hit
on a block is a hit on everything before it. Least recently used blocks leave first.
"""

from __future__ import annotations

from collections import OrderedDict


class SimulatedPrefixCache:
    """At most `blocks` blocks of `block_tokens` tokens each."""

    def __init__(self, block_tokens: int, blocks: int) -> None:
        self._block_tokens = block_tokens
        self._blocks = blocks
        self._seen: OrderedDict[int, None] = OrderedDict()

    def admit(self, tokens: list[str]) -> int:
        """How many leading tokens were cached; afterwards all full blocks are. The last token of a
        prompt is always computed, so the answer is below `len(tokens)`."""
        if not self._blocks:
            return 0
        size, key, hits, hitting = self._block_tokens, 0, 0, True
        for start in range(0, len(tokens) - size + 1, size):
            key = hash((key, *tokens[start : start + size]))
            hitting = hitting and key in self._seen and start + size < len(tokens)
            hits += hitting
            self._seen[key] = None
            self._seen.move_to_end(key)
        while len(self._seen) > self._blocks:
            self._seen.popitem(last=False)
        return hits * size
