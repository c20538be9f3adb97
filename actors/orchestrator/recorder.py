"""The recorder: the writing half of the orchestrator, in its process.

`record` hands drafts to one writer thread and returns when they are committed. While a commit
runs, what comes in piles up and becomes the next batch (group commit), so the disk's speed sets the
batch size and nothing waits for a timer. The thread assigns each run's seq, commits, tells the
event loop once per batch, and writes `orchestra.log` from the same events when nobody waits for it:
in a pause, or every quarter of a second. The loop side wakes the drafts' owners, and those who wait
for a run's next event.

What went wrong decides what happens. A `TransientStoreError` (full disk, locked file, server away)
keeps the batch and tries again with back-off, and `problem` says so. So does `StoreReplaced`, until
the right database is back, but new runs are rejected. A `StaleEpoch` is the end: everybody waiting
gets it, and nothing more is written. Anything else is the fault of one group of drafts, and only
its owner gets the error.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from actors.crash import reached
from actors.store.failure import StoreReplaced, TransientStoreError
from actors.store.run_log import LogLines, RunLog
from actors.store.store import Store
from familiar.errors import FamiliarError, StaleEpoch, StoreError
from familiar.event import Draft, Event, RunEnded, RunSubmitted

MAX_BATCH = 512
FIRST_BACKOFF_S = 0.05
LAST_BACKOFF_S = 2.0
LOG_PAUSE_S = 0.02
SILENT_S = 5.0
"""After so long without an answer of the database, `problem` says so."""

_OF_ALL = (TransientStoreError, StoreReplaced)
"""Errors of the database, not of one group of drafts."""


@dataclass(slots=True, eq=False)
class _Group:
    """The drafts of one `record` call, and the future of its owner."""

    drafts: Sequence[Draft]
    done: asyncio.Future[list[Event]]
    events: list[Event] | None = None
    error: FamiliarError | None = None


_WAKE = None
"""Put into the queue to make the writer look around: the end has come."""


class Recorder:
    """Records drafts as events. Made and used in one event loop; the thread is its own."""

    def __init__(
        self,
        store: Store,
        epoch: int,
        *,
        log_path: Path | str | None = None,
    ) -> None:
        self.store = store
        self.epoch = epoch
        self._problem: StoreError | None = None
        self._loop = asyncio.get_running_loop()
        self._incoming: SimpleQueue[_Group | None] = SimpleQueue()
        self._closing = threading.Event()
        self._give_up_at = float("inf")
        self._fatal: StoreError | None = None
        self._last: dict[str, int] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._log = (
            RunLog(Path(log_path).expanduser(), LogLines(store.call_role)) if log_path else None
        )
        self._thread = threading.Thread(target=self._write_all, name="recorder", daemon=True)
        self._thread.start()

    # --- the event loop's side

    async def record(self, drafts: Sequence[Draft]) -> list[Event]:
        """Commit `drafts`, in order, and give back the events that they became.

        Raises `StaleEpoch` when a newer orchestrator took over, `Conflict` for a taken idempotency
        key, `StoreError` when the drafts can never be written. Waits while the disk is full. A
        caller that is cancelled while it waits does not take its drafts back.
        """
        return await self.submit(drafts)

    def submit(self, drafts: Sequence[Draft]) -> asyncio.Future[list[Event]]:
        """Like `record`, without waiting: the drafts have their place in the order at once."""
        done: asyncio.Future[list[Event]] = self._loop.create_future()
        if self._fatal is not None:
            done.set_exception(self._fatal)
        elif self._closing.is_set():
            done.set_exception(StoreError("The recorder is closed; nothing was written."))
        elif not drafts:
            done.set_result([])
        else:
            self._incoming.put(_Group(drafts, done))
        return done

    @property
    def problem(self) -> StoreError | None:
        """The reason while writing stands still."""
        since = self.store.writing_since
        silent_s = 0.0 if since is None else time.monotonic() - since
        if self._problem is None and silent_s > SILENT_S:
            return TransientStoreError(
                f"The database {self.store.address} has not answered for {silent_s:.0f} s.",
                remedy="Look at the server or the disk; writing goes on by itself.",
            )
        return self._problem

    async def last_seq(self, run_id: str) -> int:
        """The run's newest committed seq; one short read when it is not known here."""
        known = self._last.get(run_id)
        if known is None:
            read = await asyncio.to_thread(self.store.last_seq, run_id)
            known = self._last.get(run_id, read)
        return known

    async def wait_beyond(self, run_id: str, seq: int, timeout_s: float) -> int:
        """Wait for an event of the run above `seq`, `timeout_s` at most; the run's newest seq."""
        last = await self.last_seq(run_id)
        if last > seq or timeout_s <= 0:
            return last
        wake: asyncio.Future[None] = self._loop.create_future()
        waiting = self._waiting.setdefault(run_id, set())
        waiting.add(wake)
        timer = self._loop.call_later(timeout_s, _resolve, wake)
        try:
            # The waker resolves every future of the run when a batch holds one of its events.
            await wake
        finally:
            timer.cancel()
            waiting.discard(wake)
            if not waiting and self._waiting.get(run_id) is waiting:
                del self._waiting[run_id]
        return await self.last_seq(run_id)

    async def close(self, timeout_s: float = 30.0) -> None:
        """Commit what was handed in, then end the thread. A batch that still cannot be written
        after `timeout_s` seconds is given up: its owners get the error."""
        self._give_up_at = time.monotonic() + timeout_s
        self._closing.set()
        self._incoming.put(_WAKE)
        await asyncio.to_thread(self._thread.join)
        # What the thread sent with call_soon_threadsafe before it ended runs before this returns.
        await asyncio.sleep(0)

    # --- the writer thread's side

    def _write_all(self) -> None:
        groups: list[_Group] = []
        try:
            while True:
                if groups:
                    self._write(groups)
                if self._closing.is_set() and self._incoming.empty():
                    break
                groups = self._next_batch()
        except BaseException as error:
            # A fault of our own. Nobody may wait for a thread that is gone.
            self._fatal = StoreError(f"The recorder broke: {error!r}. Nothing more is written.")
            self._report(self._fatal)
            self._fail([*groups, *self._handed_in()], self._fatal)
            raise
        finally:
            if self._log is not None:
                self._log.flush()
                self._log.close()

    def _next_batch(self) -> list[_Group]:
        """Wait for something to do. An empty batch means that it is not a commit."""
        first = self._wait()
        groups = [] if first is None else [first]
        size = 0 if first is None else len(first.drafts)
        for group in self._handed_in():
            groups.append(group)
            size += len(group.drafts)
            if size >= MAX_BATCH:
                break
        return groups

    def _wait(self) -> _Group | None:
        """The next group. Lines of the log wait for a pause, so that no commit waits for them."""
        if self._log is None or not self._log.pending:
            return self._incoming.get()
        late = self._log.due_at - time.monotonic()
        if late > 0:
            with contextlib.suppress(Empty):
                return self._incoming.get(timeout=min(late, LOG_PAUSE_S))
        self._log.flush()
        return self._incoming.get() if late > 0 else _WAKE

    def _handed_in(self) -> Iterator[_Group]:
        while True:
            try:
                group = self._incoming.get_nowait()
            except Empty:
                return
            if group is not None:
                yield group

    def _write(self, groups: list[_Group]) -> None:
        error = self._fatal or self._commit(groups)
        if isinstance(error, StaleEpoch):
            self._fatal = error
        if error is None:
            self._tell(groups)
        elif len(groups) == 1 or isinstance(
            error, StaleEpoch | TransientStoreError | StoreReplaced
        ):
            self._fail(groups, error)
        else:
            # One group spoils the batch; alone, each gets its own result.
            for group in groups:
                self._write([group])

    def _fail(self, groups: list[_Group], error: FamiliarError) -> None:
        for group in groups:
            group.events, group.error = None, error
        self._call(self._done, groups, [])

    def _commit(self, groups: list[_Group]) -> FamiliarError | None:
        """Commit the batch, again and again while the cause may pass. The error that stays."""
        backoff = FIRST_BACKOFF_S
        while True:
            try:
                events, texts = self._assign(groups)
                self.store.append(events, texts)
            except _OF_ALL as error:
                if isinstance(error, StoreReplaced):
                    groups = self._reject_new(groups, error)
                if not groups:
                    return None
                self._report(error)
                if time.monotonic() + backoff > self._give_up_at:
                    return error
                self._closing.wait(backoff)
                if self._closing.is_set():
                    time.sleep(min(backoff, 0.2))
                backoff = min(backoff * 2, LAST_BACKOFF_S)
            except FamiliarError as error:
                return error
            except ValueError as error:
                # A body that JSON or UTF-8 cannot hold.
                return StoreError(f"An event cannot be written: {error}")
            else:
                self._report(None)
                return None

    def _reject_new(self, groups: list[_Group], error: StoreError) -> list[_Group]:
        """The groups that belong to runs of the database; the others hear of `error`."""
        new = [group for group in groups if isinstance(group.drafts[0].body, RunSubmitted)]
        self._fail(new, error)
        return [group for group in groups if group not in new]

    def _assign(self, groups: list[_Group]) -> tuple[list[Event], dict[str, str]]:
        events: list[Event] = []
        texts: dict[str, str] = {}
        last: dict[str, int] = {}
        for group in groups:
            group.events = []
            for draft in group.drafts:
                run_id = draft.run_id
                if run_id not in last:
                    new = isinstance(draft.body, RunSubmitted)
                    last[run_id] = 0 if new else self.store.last_seq(run_id)
                last[run_id] += 1
                group.events.append(Event(run_id, last[run_id], self.epoch, draft.at, draft.body))
                if draft.texts:
                    texts.update(draft.texts)
            events.extend(group.events)
        return events, texts

    def _tell(self, groups: list[_Group]) -> None:
        events = [event for group in groups for event in group.events or ()]
        if events:
            reached("orchestrator/commit")
        for event in events:
            if isinstance(event.body, RunEnded):
                self.store.forget(event.run_id)
        self._call(self._done, groups, events)
        if events and self._log is not None:
            self._log.add(events)

    def _report(self, problem: StoreError | None) -> None:
        self._problem = problem

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        # A loop that is closed has nobody waiting any more. What was committed stays.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    # --- back in the event loop

    def _done(self, groups: list[_Group], events: list[Event]) -> None:
        for event in events:
            self._last[event.run_id] = event.seq
            if isinstance(event.body, RunEnded):
                # Later questions are rare enough for the database.
                del self._last[event.run_id]
        for group in groups:
            if group.done.done():
                continue
            if group.error is not None:
                group.done.set_exception(group.error)
            else:
                group.done.set_result(group.events or [])
        if self._waiting:
            for run_id in {event.run_id for event in events}:
                for wake in self._waiting.pop(run_id, ()):
                    _resolve(wake)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
