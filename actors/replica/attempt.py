"""One attempt of a call: take the stream, keep the text, keep the deadlines, classify the end.

Everything that ordinarily goes wrong ends in a `CallOutcome` with a class and evidence, never in an
exception. Time is kept by one timer per attempt that looks when the next deadline can strike at the
earliest; a delta costs no timer. The meaning of a deadline follows from the stream until then:

first token  Nothing came in time. `backend_slow` when the engine is known to be producing tokens
             for others meanwhile (it is busy), otherwise `backend_stalled`.
stall        Silence for longer than `stall_s` after the first token: `backend_stalled`.
total        Silent for more than half of `stall_s`: `backend_stalled`. More than half of the time
             went by before the first token, or the rate is below a quarter of what is usual for
             this source: `backend_slow`. Otherwise tokens were flowing, and the call is simply
             larger than its deadline: `call_oversized`.

An attempt that continues an earlier one begins with the text of that one: text and byte cap hold it
from the start, and only new tokens count.

A stream that ends without a finish reason was cut: `backend_unreachable`. `length` is a truncated
file (`call_truncated`), unless a grammar let the document be closed by repair; a text may be cut.

Reasoning is life: it feeds the deadlines, counts against the byte cap and is kept apart from the
answer. Engines give it as such where they can tell; where they leave its marks in the text, it is
split off at the end, in one place for all of them. An answer of reasoning alone is a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from pydantic import JsonValue

from familiar.call import CallOrder, CallOutcome, Failure, Timing, Usage
from familiar.documents import FinishedDocument, finish
from familiar.documents.reasoning import reasoning_in, without_reasoning
from familiar.engine import Delta, FinishReason
from familiar.errors import CallError, EngineError, FailureClass, WireError

_BIG_TEXT = 16 * 1024  # characters from which on a document is finished in a thread
_CLOSE_PATIENCE_S = 5.0
_SLOW_SHARE = 0.25


@dataclass(slots=True)
class Progress:
    """How far an attempt is; read at any time by others. Times are `time.monotonic()`."""

    started: float = field(default_factory=time.monotonic)
    tokens: int = 0
    first_token: float | None = None
    last_token: float | None = None
    longest_gap_s: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    pieces: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    waiting: EngineError | None = None

    def text(self) -> str:
        """Everything that is written so far, the continued text included."""
        if len(self.pieces) > 1:
            self.pieces[:] = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    def tokens_per_s(self, now: float) -> float:
        """Since the first token; 0.0 before the second."""
        if self.first_token is None or self.tokens < 2 or now <= self.first_token:
            return 0.0
        return (self.tokens - 1) / (now - self.first_token)


@dataclass(frozen=True, slots=True)
class Source:
    """The engine behind a stream: is it producing tokens now (for any request), and
    how many tokens/s does one call usually get (None: not known yet)."""

    producing: Callable[[], bool] = lambda: False
    usual_tokens_per_s: Callable[[], float | None] = lambda: None


async def carry_out(
    order: CallOrder,
    deltas: AsyncIterator[Delta],
    progress: Progress | None = None,
    source: Source | None = None,
) -> CallOutcome:
    """Carry out one attempt. Closes `deltas` in the end, which aborts the rest.

    Cancelling the task that runs this gives an outcome too (`cancelled`, with the text so far):
    the caller that cancels has to expect a result instead of a CancelledError.
    """
    source = source or Source()
    progress = progress or Progress()
    started_at = time.time() - (time.monotonic() - progress.started)
    carrier = _Carrier(order, progress, source)
    failure: Failure | None = None
    document = FinishedDocument("")
    try:
        document = await carrier.run(deltas)
    except asyncio.CancelledError:
        _absorb_cancellation()
        failure = Failure(FailureClass.CANCELLED, f"{order.key} was cancelled.", carrier.evidence())
    except (EngineError, CallError) as error:
        evidence = carrier.evidence() | _scalars(error.evidence)
        failure = Failure(error.failure_class, str(error), evidence)
    except WireError as error:
        failure = Failure(FailureClass.OUTPUT_INVALID, str(error), carrier.evidence())
    except Exception as error:  # a run must end with a class whatever breaks in here
        failure = Failure(
            FailureClass.INTERNAL,
            f"{order.key}: {type(error).__name__}: {error}",
            carrier.evidence(),
        )
    finally:
        await _close(deltas, hurry=carrier.finish_reason is None)
    first = progress.first_token
    return CallOutcome(
        key=order.key,
        timing=Timing(
            started_at=started_at,
            first_token_at=None if first is None else started_at + first - progress.started,
            ended_at=time.time(),
            longest_gap_s=progress.longest_gap_s,
        ),
        usage=Usage(progress.prompt_tokens, progress.tokens, progress.cached_tokens),
        raw=progress.text(),
        text=document.text if failure is None else "",
        reasoning=carrier.reasoning(),
        finish_reason=carrier.finish_reason,
        repairs=document.repairs,
        failure=failure,
    )


class _Carrier:
    def __init__(self, order: CallOrder, progress: Progress, source: Source) -> None:
        self.order = order
        self.progress = progress
        self.source = source
        self.finish_reason: FinishReason | None = None
        if order.prefix:
            progress.pieces.append(order.prefix)

    async def run(self, deltas: AsyncIterator[Delta]) -> FinishedDocument:
        order = self.order
        watch = _Watch(order, self.progress)
        try:
            await self._consume(deltas)
        except asyncio.CancelledError:
            if not watch.struck:
                raise
            _absorb_cancellation()
            raise self._deadline_error() from None
        finally:
            watch.stop()
        self._judge_end()
        raw = self.progress.text()
        self._judge_empty(raw)
        if order.mode == "text":
            # A plan is read whole by the judge, reasoning included.
            return FinishedDocument(raw) if order.kind == "plan" else self._without_reasoning(raw)
        file = order.output_file or ""
        if len(raw) > _BIG_TEXT:
            return await asyncio.to_thread(finish, raw, order.document, file)
        return finish(raw, order.document, file)

    async def _consume(self, deltas: AsyncIterator[Delta]) -> None:
        progress, pieces = self.progress, self.progress.pieces
        monotonic, max_bytes = time.monotonic, self.order.max_bytes
        size = len(self.order.prefix.encode("utf-8", "replace"))
        async for delta in deltas:
            now, text = monotonic(), delta.text
            progress.waiting = delta.waiting
            if delta.tokens or text or delta.reasoning:
                progress.tokens += delta.tokens
                if progress.last_token is None:
                    progress.first_token = now
                elif now - progress.last_token > progress.longest_gap_s:
                    progress.longest_gap_s = now - progress.last_token
                progress.last_token = now
            if delta.prompt_tokens:
                progress.prompt_tokens = delta.prompt_tokens
                progress.cached_tokens = delta.cached_tokens
            if delta.reasoning:
                progress.reasoning.append(delta.reasoning)
            if text or delta.reasoning:
                size += _bytes(text) + _bytes(delta.reasoning)
                if size > max_bytes:
                    raise CallError(
                        f"{self.order.key} wrote more than {max_bytes} bytes.",
                        failure_class=FailureClass.CALL_OVERSIZED,
                        evidence={"bytes": size, "max_bytes": max_bytes},
                    )
                if text:
                    pieces.append(text)
            if delta.finish_reason is not None:
                self.finish_reason = delta.finish_reason
                return

    def _judge_end(self) -> None:
        """Raises when the way the stream ended is a failure."""
        key, reason = self.order.key, self.finish_reason
        if reason is None:
            raise EngineError(
                f"The stream of {key} ended without a finish reason, so it was cut.",
                failure_class=FailureClass.BACKEND_UNREACHABLE,
            )
        if reason == "abort":
            raise CallError(
                f"{key} was aborted in the engine.", failure_class=FailureClass.CANCELLED
            )
        if reason == "error":
            raise EngineError(f"The engine ended {key} with an error.")
        if (
            reason == "length"
            and self.order.mode == "output_file"
            and self.order.request.grammar is None
        ):
            raise self._truncated()

    def _truncated(self) -> CallError:
        return CallError(
            f"{self.order.key} was cut off at {self.progress.tokens} tokens, before its end.",
            failure_class=FailureClass.CALL_TRUNCATED,
            evidence={
                "max_tokens": self.order.request.sampling.max_tokens,
                "deadline_s": self.order.deadlines.total_s,
            },
        )

    def _judge_empty(self, raw: str) -> None:
        """Raises when the model only thought, or did not even that."""
        if raw.strip():
            return
        if not self.progress.reasoning:
            if self.order.kind == "worker" and self.order.mode == "text":
                raise CallError(
                    f"{self.order.key}: the model wrote nothing.",
                    failure_class=FailureClass.OUTPUT_INVALID,
                )
            return
        cut = self.finish_reason == "length"
        raise CallError(
            f"{self.order.key} is reasoning without an answer"
            f"{f', cut off at {self.progress.tokens} tokens' if cut else ''}.",
            failure_class=FailureClass.CALL_TRUNCATED if cut else FailureClass.OUTPUT_INVALID,
            evidence={"max_tokens": self.order.request.sampling.max_tokens},
            remedy="Bound or switch off the reasoning by the pool's `thinking`, or raise the "
            "alias's sampling.max_tokens.",
        )

    def _without_reasoning(self, raw: str) -> FinishedDocument:
        try:
            text, repairs = without_reasoning(raw)
        except WireError:
            if self.finish_reason == "length":
                raise self._truncated() from None
            raise
        return FinishedDocument(text, repairs)

    def reasoning(self) -> str:
        """The model's reasoning: apart from the answer, or marked at its beginning."""
        return "".join(self.progress.reasoning) or reasoning_in(self.progress.text())

    def _deadline_error(self) -> CallError:
        """The meaning of the deadline that struck, for this call and its backend."""
        now, p, limits, key = time.monotonic(), self.progress, self.order.deadlines, self.order.key
        elapsed = now - p.started
        rate = p.tokens_per_s(now)
        usual = self.source.usual_tokens_per_s()
        if (p.last_token is None or p.first_token is None) and p.waiting:
            kind = FailureClass.BACKEND_UNREACHABLE
            deadline = "first_token" if elapsed < limits.total_s else "total"
            text = f"{key} got no token in {elapsed:.1f} s: {p.waiting.message}"
        elif p.last_token is None or p.first_token is None:
            busy = self.source.producing()
            kind = FailureClass.BACKEND_SLOW if busy else FailureClass.BACKEND_STALLED
            about = (
                "while the engine served others" if busy else "and the engine served nobody else"
            )
            deadline = "first_token" if elapsed < limits.total_s else "total"
            text = f"{key} got no token in {elapsed:.1f} s, {about}."
        else:
            silent, waited = now - p.last_token, p.first_token - p.started
            deadline = "total" if elapsed >= limits.total_s else "stall"
            if deadline == "stall" or silent > limits.stall_s / 2:
                kind = FailureClass.BACKEND_STALLED
                text = f"{key} has been silent for {silent:.1f} s after {p.tokens} tokens."
            elif waited > limits.total_s / 2:
                kind = FailureClass.BACKEND_SLOW
                text = f"{key} waited {waited:.1f} of {limits.total_s:g} s for its first token."
            elif usual is not None and rate < _SLOW_SHARE * usual:
                kind = FailureClass.BACKEND_SLOW
                text = f"{key} ran at {rate:.1f} tokens/s where {usual:.1f} is usual."
            else:
                kind = FailureClass.CALL_OVERSIZED
                text = (
                    f"{key} had {p.tokens} tokens and was still at {rate:.1f} tokens/s when its "
                    f"{limits.total_s:g} s were over."
                )
        waited_for = p.waiting.evidence if p.waiting is not None and not p.tokens else {}
        evidence: dict[str, object] = {
            **waited_for,
            "deadline": deadline,
            "deadline_s": limits.total_s,
            "stall_limit_s": limits.stall_s,
            "max_tokens": self.order.request.sampling.max_tokens,
        }
        if usual is not None:
            evidence["usual_tokens_per_s"] = round(usual, 2)
        return CallError(text, failure_class=kind, evidence=evidence)

    def evidence(self) -> dict[str, JsonValue]:
        now, p = time.monotonic(), self.progress
        return {
            "tokens": p.tokens,
            "tokens_per_s": round(p.tokens_per_s(now), 2),
            "seconds": round(now - p.started, 3),
            "first_token_s": None if p.first_token is None else round(p.first_token - p.started, 3),
            "longest_gap_s": round(p.longest_gap_s, 3),
            "silent_s": round(now - (p.last_token or p.started), 3),
        }


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


class _Watch:
    """The one timer of an attempt, and of the task that made it. It wakes when a deadline could
    strike at the earliest, looks, and either cancels the task or goes back to sleep."""

    def __init__(self, order: CallOrder, progress: Progress) -> None:
        self.struck = False
        self._limits = order.deadlines
        self._progress = progress
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer = self._loop.call_later(self._nap(self._left()), self._look)

    def stop(self) -> None:
        self._timer.cancel()

    def _left(self) -> float:
        p = self._progress
        if p.last_token is None:
            nearest = p.started + self._limits.first_token_s
        else:
            nearest = p.last_token + self._limits.stall_s
        return min(nearest, p.started + self._limits.total_s) - time.monotonic()

    def _nap(self, left: float) -> float:
        """The first token brings the nearest deadline forward to `stall_s` from then."""
        return min(left, self._limits.stall_s)

    def _look(self) -> None:
        left = self._left()
        if left > 0:
            self._timer = self._loop.call_later(self._nap(left), self._look)
        else:
            self.struck = True
            self._task.cancel()
            # An engine may hold on to its stream while it is closed.
            self._timer = self._loop.call_later(_CLOSE_PATIENCE_S, self._task.cancel)


def _absorb_cancellation() -> None:
    """Tell the task that its cancellation was heard, so that later awaits work."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


async def _close(deltas: AsyncIterator[Delta], *, hurry: bool) -> None:
    """Close the stream, which aborts the rest in the engine. One that has not ended is
    left behind when the engine hangs."""
    close = getattr(deltas, "aclose", None)
    if close is None:
        return
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_CLOSE_PATIENCE_S) if hurry else contextlib.nullcontext():
            await close()


def _scalars(evidence: dict[str, object]) -> dict[str, JsonValue]:
    return {
        name: value if isinstance(value, str | int | float | bool | None) else str(value)
        for name, value in evidence.items()
    }
