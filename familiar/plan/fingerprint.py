"""The identity of a plan, independent of the names of its calls.

A plan's identity is its calls by role, output_file, prompt and place in the DAG; ids are names and
do not count. Each call is digested after the calls it waits for (a Merkle digest in topological
order), so equality costs one pass. Nearness is the Jaccard index of the two plans' word pairs, each
pair marked with the shape of its call, and is only asked between plans of one shape: the same
roles, files and edges. Everything is linear in the text of the plans.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from familiar.event import PlannedCall
from familiar.plan.dag import dag

NEAR = 0.8
"""The Jaccard index of word pairs from which two plans of one shape are nearly equal. One word
changed in a prompt of twenty gives 0.81; ten words added to forty, 0.79."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class PlanDigest:
    """A plan for comparison. `pairs` are hashes of (shape of the call, word, next word)."""

    exact: str
    shape: str
    pairs: frozenset[int]

    def nearness(self, other: PlanDigest) -> float:
        """1.0 for equal plans, 0.0 for plans of another shape, else the Jaccard index."""
        if self.exact == other.exact:
            return 1.0
        if self.shape != other.shape or not self.pairs or not other.pairs:
            return 0.0
        shared = len(self.pairs & other.pairs)
        return shared / (len(self.pairs) + len(other.pairs) - shared)


def fingerprint(calls: Sequence[PlannedCall]) -> str:
    """The identity of a plan: 16 hexadecimal digits, equal for plans that differ in ids only."""
    words = {call.id: _words(call.prompt) for call in calls}
    return _combined(
        _placed(calls, lambda call: f"{_frame(call)}\0{' '.join(words[call.id])}").values()
    )


def digest(calls: Sequence[PlannedCall]) -> PlanDigest:
    shapes = _placed(calls, _frame)
    pairs: set[int] = set()
    for call in calls:
        shape, words = shapes[call.id], _words(call.prompt)
        pairs.update(hash((shape, *pair)) for pair in pairwise(words))
        if len(words) == 1:
            pairs.add(hash((shape, words[0])))
    return PlanDigest(
        exact=fingerprint(calls), shape=_combined(shapes.values()), pairs=frozenset(pairs)
    )


def _words(prompt: str) -> list[str]:
    return _WORD.findall(prompt.casefold())


def _frame(call: PlannedCall) -> str:
    return f"{call.alias}\0{call.output_file or ''}"


def _combined(digests: Iterable[str]) -> str:
    return _hash("\n".join(sorted(digests)))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _placed(calls: Sequence[PlannedCall], own: Callable[[PlannedCall], str]) -> dict[str, str]:
    """Digest by call id, of the text of `own` and the digests of the calls that it waits for.

    Calls of a cycle have no order; they keep the digest of what they say alone. A dependency
    outside the plan (a call of an earlier turn) is done and places nothing.
    """
    graph = dag(calls)
    placed = {call.id: _hash(own(call)) for call in calls}
    for name in graph.order:
        before = sorted(placed[other] for other in graph.before[name])
        placed[name] = _hash("\n".join((placed[name], *before)))
    return placed
