"""The attempts of one replica: each is begun once, and its outcome stays until it is released.

Every attempt has a row by `CallKey`. A second request for an attempt that runs or has ended gets
the same outcome: so a restarted orchestrator adopts the work in flight. A row stays until the
orchestrator says that the outcome is committed (`release`). If it never does, the oldest ended rows
leave when they hold too much text.

Requests carry the orchestrator's epoch. The table keeps the highest that it has seen and rejects a
lower one, so an orchestrator that was replaced can start nothing. All methods run in one event
loop.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from actors.replica.attempt import Progress, Source, carry_out
from familiar.call import CallKey, CallOrder, CallOutcome
from familiar.engine import Delta
from familiar.errors import StaleEpoch

StreamOf = Callable[[CallOrder], AsyncIterator[Delta]]

_ENDED_ROWS = 10_000
_ENDED_CHARS = 128 << 20
_USUAL_OF = 32
_CANCEL_PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class AttemptProgress:
    """How far a running attempt is. `tokens_per_s` is since its first token. `text` is the part of
    its text from character `offset` on, where that was asked for."""

    tokens: int
    tokens_per_s: float
    seconds: float
    offset: int = 0
    text: str = ""


@dataclass(slots=True, eq=False)
class _Attempt:
    task: asyncio.Task[CallOutcome]
    progress: Progress
    cancelled: bool = False


@dataclass(slots=True)
class _Usual:
    """The median rate of the last ended attempts of an alias, in tokens/s."""

    rates: deque[float] = field(default_factory=lambda: deque(maxlen=_USUAL_OF))

    def per_s(self) -> float | None:
        return statistics.median(self.rates) if len(self.rates) >= 3 else None


class Attempts:
    def __init__(self) -> None:
        self._epoch = 0
        self._attempts: dict[CallKey, _Attempt] = {}
        self._ended: dict[CallKey, int] = {}
        self._ended_chars = 0
        self._usual: dict[str, _Usual] = {}

    @property
    def epoch(self) -> int:
        return self._epoch

    def see_epoch(self, epoch: int) -> None:
        """Raises StaleEpoch when a higher one was seen before."""
        if epoch < self._epoch:
            raise StaleEpoch(
                f"This replica serves epoch {self._epoch} and was asked in epoch {epoch}.",
                remedy="A newer orchestrator has taken over; this one has to stop.",
            )
        self._epoch = epoch

    def begin(
        self, order: CallOrder, stream: StreamOf, *, producing: Callable[[], bool] = lambda: False
    ) -> asyncio.Task[CallOutcome]:
        """The task of an attempt. `stream` is called only for the first request of the attempt.

        Raises StaleEpoch."""
        self.see_epoch(order.epoch)
        known = self._attempts.get(order.key)
        if known is None:
            known = self._begin(order, stream, producing)
        return known.task

    def held(self, epoch: int) -> list[CallKey]:
        """Every attempt in the table, running or ended. The question fences off older
        orchestrators. Raises StaleEpoch."""
        self.see_epoch(epoch)
        return list(self._attempts)

    def release(self, keys: Iterable[CallKey]) -> None:
        """Forget ended attempts whose outcomes are committed. Keys that are unknown or still
        running are left alone."""
        for key in keys:
            if key in self._ended:
                self._forget(key)

    async def cancel(self, key: CallKey) -> bool:
        """Stop an attempt and wait for its outcome; whether one was running."""
        known = self._attempts.get(key)
        if known is None or known.task.done():
            return False
        if not known.cancelled:
            known.cancelled = True
            known.task.cancel()
        # A stream that does not let go is cancelled once more, after the patience of `carry_out`.
        done, _ = await asyncio.wait([known.task], timeout=_CANCEL_PATIENCE_S)
        if not done:
            known.task.cancel()
            await asyncio.wait([known.task])
        return True

    async def cancel_all(self) -> None:
        await asyncio.gather(*(self.cancel(key) for key in list(self._attempts)))

    def progress(
        self, offsets: Mapping[CallKey, int] | None = None
    ) -> dict[CallKey, AttemptProgress]:
        """The running attempts; with the text from the given offset on where one is named."""
        now, wanted = time.monotonic(), offsets or {}
        return {
            key: _progress(known.progress, now, wanted.get(key))
            for key, known in self._attempts.items()
            if key not in self._ended
        }

    def _begin(self, order: CallOrder, stream: StreamOf, producing: Callable[[], bool]) -> _Attempt:
        progress = Progress()
        usual = self._usual.setdefault(order.alias, _Usual())
        source = Source(producing, usual.per_s)

        def ended(task: asyncio.Task[CallOutcome]) -> None:
            if task.cancelled() or task.exception() is not None:
                self._attempts.pop(order.key, None)
                return
            outcome = task.result()
            if outcome.failure is None and progress.tokens > 8 and progress.last_token is not None:
                usual.rates.append(progress.tokens_per_s(progress.last_token))
            self._keep(order.key, outcome)

        work = carry_out(order, stream(order), progress, source)
        known = _Attempt(asyncio.get_running_loop().create_task(work), progress)
        self._attempts[order.key] = known
        known.task.add_done_callback(ended)
        return known

    def _keep(self, key: CallKey, outcome: CallOutcome) -> None:
        size = len(outcome.raw) + len(outcome.text)
        self._ended[key] = size
        self._ended_chars += size
        while len(self._ended) > 1 and (
            len(self._ended) > _ENDED_ROWS or self._ended_chars > _ENDED_CHARS
        ):
            self._forget(next(iter(self._ended)))

    def _forget(self, key: CallKey) -> None:
        self._ended_chars -= self._ended.pop(key)
        del self._attempts[key]


def _progress(progress: Progress, now: float, offset: int | None) -> AttemptProgress:
    text = "" if offset is None else progress.text()[offset:]
    return AttemptProgress(
        progress.tokens,
        progress.tokens_per_s(now),
        now - progress.started,
        offset or 0,
        text,
    )
