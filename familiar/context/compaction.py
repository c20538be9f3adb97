"""A stack that outgrows its window is begun anew, without a model and always the same way.

These stay, in this order, each as it was written:

1. the system prompt (the current one, which may name other roles than before);
2. the newest contract;
3. decisions and open questions, newest first while they fit into a quarter of the window;
4. one summary: the facts of everything that goes (files with hashes, calls, failures), of two facts
   on one subject the newer, newest first while they fit into a quarter of the window;
5. the newest goal;
6. what was not sent yet (the answer and the results that the next prompt is about), when that fits
   into a quarter of the window; otherwise its facts are in the summary.

Everything else goes: plans, rejections, results and states of earlier turns, older goals. A summary
of an earlier compaction is facts like any other, so nothing is summarised twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from familiar.context.message import Fact, StackMessage
from familiar.context.stack import Stack
from familiar.context.tokens import MESSAGE_TOKENS, estimate_tokens

SHARE = 0.25
"""Of the window: for decisions and questions, for the summary, and for what was not sent."""
_KEPT_ALWAYS = ("contract", "goal")
_KEPT_WHILE_THEY_FIT = ("decision", "question")


@dataclass(frozen=True, slots=True)
class Compaction:
    """The record of a compaction: estimated tokens before and after, kept and dropped, one short
    phrase a kind."""

    reason: str
    tokens_before: int
    tokens_after: int
    kept: tuple[str, ...]
    dropped: tuple[str, ...]


def compact(
    stack: Stack,
    *,
    reason: str,
    window_tokens: int,
    summarise: Callable[[Sequence[str]], str],
    system: str | None = None,
) -> tuple[Stack, Compaction]:
    """The stack begun anew. `summarise` writes the lines of the facts into the summary's text;
    `system` replaces the system prompt."""
    budget = int(window_tokens * SHARE)
    messages = stack.messages
    unsent = _unsent(stack, budget)
    kept = _kept(stack, unsent, budget)
    gone = [message for at, message in enumerate(messages) if at and at not in kept | unsent]
    facts, forgotten = _facts(gone, budget)
    front = [messages[at] for at in sorted(kept) if messages[at].kind != "goal"]
    goal = [messages[at] for at in sorted(kept) if messages[at].kind == "goal"]
    if facts:
        front.append(StackMessage("summary", summarise([fact.line for fact in facts]), facts))
    first = StackMessage("system", stack.system if system is None else system)
    fresh = Stack(
        (first, *front, *goal, *(messages[at] for at in sorted(unsent))),
        compactions=stack.compactions + 1,
    )
    dropped = (*_phrases(gone), *((f"{forgotten} oldest facts",) if forgotten else ()))
    return fresh, Compaction(
        reason=reason,
        tokens_before=stack.tokens,
        tokens_after=fresh.tokens,
        kept=_phrases(fresh.messages),
        dropped=dropped,
    )


def _unsent(stack: Stack, budget: int) -> set[int]:
    places = range(max(stack.sent, 1), len(stack.messages))
    return set(places) if sum(_cost(stack.messages[at]) for at in places) <= budget else set()


def _kept(stack: Stack, unsent: set[int], budget: int) -> set[int]:
    """Places of the messages that stay, beside the system message and what was not sent."""
    newest = {message.kind: at for at, message in enumerate(stack.messages)}
    kept = {newest[kind] for kind in _KEPT_ALWAYS if kind in newest}
    for at in range(len(stack.messages) - 1, 0, -1):
        message = stack.messages[at]
        if message.kind in _KEPT_WHILE_THEY_FIT and at not in unsent:
            budget -= _cost(message)
            if budget < 0:
                break
            kept.add(at)
    return kept - unsent


def _facts(gone: Sequence[StackMessage], budget: int) -> tuple[tuple[Fact, ...], int]:
    """The newest fact on each subject, oldest first, and how many did not fit."""
    newest: dict[str, Fact] = {}
    for message in gone:
        for fact in message.facts:
            newest.pop(fact.key, None)
            newest[fact.key] = fact
    fitting: list[Fact] = []
    for fact in reversed(newest.values()):
        budget -= estimate_tokens(fact.line)
        if budget < 0:
            break
        fitting.append(fact)
    return tuple(reversed(fitting)), len(newest) - len(fitting)


def _cost(message: StackMessage) -> int:
    return estimate_tokens(message.text) + MESSAGE_TOKENS


def _phrases(messages: Sequence[StackMessage]) -> tuple[str, ...]:
    """`3 results, 1,204 characters`, one for each kind."""
    sizes: dict[str, list[int]] = {}
    for message in messages:
        sizes.setdefault(message.kind, []).append(len(message.text))
    return tuple(f"{len(n)} {kind}, {sum(n):,} characters" for kind, n in sizes.items())
