"""Whether a call that was cut off can go on from what it wrote, and the arithmetic of its size.

A call is cut off by its deadline while tokens flow, or by `max_tokens`. The capacity of one attempt
is the measured rate times the time after the first token, and at most `max_tokens`. The length of
the answer is estimated from what the call was asked (`familiar.plan.estimate`). One that is
longer already is taken to be half written, at most `max_tokens` where it is still below: when
nothing else is known, that is off by the same factor to both sides. When the rest fits into the
attempts that are left, the call goes on; otherwise the plan has to split the call, and a
continuation would only delay that.

The numbers come from the recorded failure, so a replayed history decides the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import JsonValue

from familiar.event import CallFailed
from familiar.plan.estimate import estimate_output
from familiar.run.state import CallState


@dataclass(frozen=True, slots=True)
class Size:
    """Tokens and seconds of a call that was cut off. `written` is over all attempts that were
    continued, `new` of the last one, `capacity` what one attempt can write; None is not known."""

    written: int
    new: int
    rate: float
    deadline_s: float | None
    max_tokens: int | None
    capacity: int | None
    expected: int
    prompt_tokens: int | None = None
    context_length: int | None = None

    @property
    def remainder(self) -> int:
        return max(self.expected - self.written, 0)

    @property
    def pieces(self) -> int:
        """Into how many calls the whole has to be cut at least."""
        return max(math.ceil(self.expected / self.capacity), 2) if self.capacity else 2

    def evidence(self) -> dict[str, object]:
        values = {
            "tokens_written": self.written,
            "tokens_per_s": round(self.rate, 2),
            "deadline_s": self.deadline_s,
            "max_tokens": self.max_tokens,
            "tokens_an_attempt": self.capacity,
            "tokens_expected": self.expected,
            "pieces": self.pieces,
            "prompt_tokens": self.prompt_tokens,
            "context_length": self.context_length,
        }
        return {name: value for name, value in values.items() if value is not None}

    def sentence(self) -> str:
        return (
            f"{self.written} tokens are written, about {self.remainder} are missing, and "
            f"an attempt can write {self.capacity}"
        )


def measure(call: CallState) -> Size:
    """The size of `call` by its last failure."""
    failed = call.last_failure
    if failed is None:
        raise ValueError(f"call {call.id} has not failed")
    rate = _number(failed, "tokens_per_s") or 0.0
    deadline_s, max_tokens = _number(failed, "deadline_s"), _whole(failed, "max_tokens")
    bounds = [] if max_tokens is None else [max_tokens]
    if deadline_s is not None and rate > 0:
        waited = _number(failed, "first_token_s") or 0.0
        bounds.append(int(rate * max(deadline_s - waited, 0.0)))
    written = call.written_tokens
    expected = estimate_output(call.planned).tokens
    if expected <= written:
        expected = 2 * written
        if max_tokens is not None and written < max_tokens:
            expected = min(expected, max_tokens)
    return Size(
        written=written,
        new=failed.usage.output_tokens,
        rate=rate,
        deadline_s=deadline_s,
        max_tokens=max_tokens,
        capacity=min(bounds, default=None),
        expected=expected,
        prompt_tokens=_whole(failed, "prompt_tokens"),
        context_length=_whole(failed, "context_length"),
    )


def hindrance(call: CallState, size: Size, *, attempts_left: int) -> str:
    """Why the call cannot go on from what it wrote; empty when it can."""
    failed = call.last_failure
    if call.kind == "plan":
        return "a plan is asked for whole"
    if call.grammar is not None:
        return f"it writes under the grammar {call.grammar}, which cannot be resumed"
    if failed is None or failed.raw is None or failed.raw.size == 0:
        return "nothing was written that it could go on from"
    if size.new <= 0:
        return "the last attempt wrote nothing new"
    if not size.capacity:
        return "what it wrote is over a limit that going on cannot lift"
    if size.remainder > attempts_left * size.capacity:
        return (
            f"about {size.remainder} of {size.expected} tokens are missing, and {attempts_left} "
            f"more attempts of {size.capacity} tokens cannot write them"
        )
    return ""


def instruction(call: CallState, size: Size) -> str:
    """The sentence for the next plan about a call that has to be split."""
    if size.context_length is not None and size.prompt_tokens is not None:
        return (
            f"its prompt has {size.prompt_tokens} tokens and the context holds "
            f"{size.context_length}, the answer included: plan smaller calls that need fewer files"
        )
    if not size.written:
        return "plan it as smaller calls"
    can = ""
    if size.deadline_s is not None and size.capacity:
        can = (
            f"; one call of {call.planned.alias} writes at most {size.capacity} tokens "
            f"({size.rate:.1f} tokens/s, {size.deadline_s:g} s)"
        )
    elif size.capacity:
        can = f"; one call of {call.planned.alias} writes at most {size.capacity} tokens"
    return (
        f"it wrote {size.written} tokens and was not done, about {size.expected} are expected"
        f"{can}: split it into at least {size.pieces} smaller calls"
    )


def _number(failed: CallFailed, name: str) -> float | None:
    value: JsonValue = failed.failure.evidence.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(failed: CallFailed, name: str) -> int | None:
    value = _number(failed, name)
    return None if value is None else int(value)
