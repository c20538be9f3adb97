"""The workbench: carries out calls, never the same try twice, and publishes files.

It is plain Python, used inside a replica's process and in an actor of its own beside the workspace.
Every try has a row in a table by `CallKey`: whoever asks again for a try that is going on or has
ended gets the same outcome, which is how a restarted orchestrator adopts work in flight. A row
stays until the orchestrator says that the outcome is committed (`release`); if it never does, the
oldest ended rows leave when they hold too much text.

Orders carry the orchestrator's epoch. The workbench keeps the highest that it has seen and refuses
a lower one, so an orchestrator that was replaced can start nothing and publish nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from actors.carry import Progress, Source, carry_out
from actors.crash import Crash, never
from actors.git import FileCommit, Repository
from actors.workspace import Workspace
from familiar.call import CallKey, CallOrder, CallOutcome, Publication, Published, partial_path
from familiar.engine import Delta
from familiar.errors import StaleEpoch, WorkspaceError

StreamOf = Callable[[CallOrder], AsyncIterator[Delta]]
TryState = Literal["running", "ended"]

_ENDED_ROWS = 10_000
_ENDED_CHARS = 128 << 20
_USUAL_OF = 32
_CANCEL_PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class TryProgress:
    """How far a try that is going on is. `tokens_per_s` is since its first token."""

    tokens: int
    tokens_per_s: float
    seconds: float


@dataclass(slots=True, eq=False)
class _Try:
    task: asyncio.Task[CallOutcome]
    progress: Progress
    cancelled: bool = False


@dataclass(slots=True)
class _Usual:
    """What one call usually gets from a source: the median rate of its last ended calls."""

    rates: deque[float] = field(default_factory=lambda: deque(maxlen=_USUAL_OF))

    def per_s(self) -> float | None:
        return statistics.median(self.rates) if len(self.rates) >= 3 else None


class Workbench:
    """One per process; all methods in one event loop."""

    def __init__(self, crash: Crash = never) -> None:
        self._crash = crash
        self._epoch = 0
        self._tries: dict[CallKey, _Try] = {}
        self._ended: dict[CallKey, int] = {}
        self._ended_chars = 0
        self._repositories: dict[str, Repository] = {}
        self._publishing: dict[tuple[CallKey, str], asyncio.Task[Published]] = {}
        self._usual: dict[str, _Usual] = {}

    # -- calls -----------------------------------------------------------------------------------

    async def carry_out(
        self,
        order: CallOrder,
        stream: StreamOf,
        *,
        source_name: str = "",
        producing: Callable[[], bool] = lambda: False,
    ) -> CallOutcome:
        """The outcome of a try; see `begin`. The try goes on when the caller goes away."""
        return await asyncio.shield(
            self.begin(order, stream, source_name=source_name, producing=producing)
        )

    def begin(
        self,
        order: CallOrder,
        stream: StreamOf,
        *,
        source_name: str = "",
        producing: Callable[[], bool] = lambda: False,
    ) -> asyncio.Task[CallOutcome]:
        """The task of a try; `stream` is only called when nobody asked for this try before.

        Raises StaleEpoch.
        """
        self.see_epoch(order.epoch)
        known = self._tries.get(order.key)
        if known is None:
            known = self._begin(order, stream, source_name, producing)
        return known.task

    def held(self, epoch: int | None = None) -> list[tuple[CallKey, TryState]]:
        """Every try in the table. A new orchestrator gives its epoch, which fences off the old."""
        if epoch is not None:
            self.see_epoch(epoch)
        return [(k, "ended" if k in self._ended else "running") for k in self._tries]

    def release(self, keys: Iterable[CallKey]) -> None:
        """Forget ended tries whose outcomes are committed. Keys that are unknown or still going on
        are left alone."""
        for key in keys:
            if key in self._ended:
                self._forget(key)

    async def cancel(self, key: CallKey) -> bool:
        """Stop a try and wait for its outcome; whether there was one going on."""
        known = self._tries.get(key)
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
        """Stop every try that is going on."""
        await asyncio.gather(*(self.cancel(key) for key in list(self._tries)))

    def progress(self) -> dict[CallKey, TryProgress]:
        """The tries that are going on."""
        now = time.monotonic()
        return {
            key: TryProgress(
                known.progress.tokens,
                known.progress.tokens_per_s(now),
                now - known.progress.started,
            )
            for key, known in self._tries.items()
            if key not in self._ended
        }

    @property
    def epoch(self) -> int:
        """The highest epoch seen."""
        return self._epoch

    def see_epoch(self, epoch: int) -> None:
        """Raises StaleEpoch when a higher one was seen before."""
        if epoch < self._epoch:
            raise StaleEpoch(
                f"This workbench serves epoch {self._epoch} and was asked in epoch {epoch}.",
                remedy="A newer orchestrator has taken over; this one has to stop.",
            )
        self._epoch = epoch

    # -- publishing ------------------------------------------------------------------------------

    async def publish(self, publication: Publication) -> Published:
        """Put a finished file into the workspace and its history. Safe to repeat at any point.

        Raises StaleEpoch and WorkspaceError.
        """
        self.see_epoch(publication.epoch)
        name = (publication.key, publication.path)
        task = self._publishing.get(name)
        if task is None:
            task = asyncio.create_task(self._publish(publication))
            self._publishing[name] = task
            task.add_done_callback(lambda _: self._publishing.pop(name, None))
        return await asyncio.shield(task)

    async def create_workspace(self, root: str) -> None:
        """Make the workspace's folder and repository; an existing repository stays as it is."""
        await self._repository(root).create()

    # -- inside ----------------------------------------------------------------------------------

    def _begin(
        self, order: CallOrder, stream: StreamOf, source_name: str, producing: Callable[[], bool]
    ) -> _Try:
        progress = Progress()
        usual = self._usual.get(source_name)
        if usual is None:
            usual = self._usual[source_name] = _Usual()
        writes = order.mode == "output_file" and order.workspace
        workspace = Workspace(order.workspace) if writes else None
        source = Source(producing, usual.per_s)

        async def work() -> CallOutcome:
            outcome = await carry_out(order, stream(order), workspace, progress, source)
            if order.mode == "output_file":
                self._crash("partial_written")
            return outcome

        def ended(task: asyncio.Task[CallOutcome]) -> None:
            if task.cancelled() or task.exception() is not None:
                self._tries.pop(order.key, None)
                return
            outcome = task.result()
            if outcome.failure is None and progress.tokens > 8 and progress.last_token is not None:
                usual.rates.append(progress.tokens_per_s(progress.last_token))
            self._keep(order.key, outcome)

        known = _Try(asyncio.create_task(work()), progress)
        self._tries[order.key] = known
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
        del self._tries[key]

    def _repository(self, root: str) -> Repository:
        return self._repositories.setdefault(root, Repository(root))

    async def _publish(self, publication: Publication) -> Published:
        data = publication.text.encode("utf-8", "replace")
        digest = hashlib.sha256(data).hexdigest()
        if digest != publication.sha256:
            raise WorkspaceError(
                f"The publication of {publication.path} by {publication.key} carries a text with "
                f"the hash {digest}, not {publication.sha256}.",
                path=publication.path,
            )
        repository = self._repository(publication.workspace)
        workspace = Workspace(publication.workspace)
        if not (Path(publication.workspace) / ".git").exists():
            await repository.create()
        if not await asyncio.to_thread(_place, workspace, publication):
            # Neither the temporary file nor the file itself is there: either the commit was made
            # long ago and the file has changed since, or both were lost and are written anew.
            commit = await repository.find(publication.key)
            if commit is not None:
                return Published(publication.path, commit, len(data))
            await asyncio.to_thread(workspace.write, publication.path, data)
        self._crash("renamed")
        commit = await repository.commit(
            FileCommit(publication.key, publication.path, data, publication.alias)
        )
        self._crash("committed")
        return Published(publication.path, commit, len(data))


def _place(workspace: Workspace, publication: Publication) -> bool:
    """Whether the file now stands at its path with the right content, without writing its text."""
    temporary = partial_path(publication.key)
    if workspace.sha256(temporary) == publication.sha256:
        workspace.sync(temporary)
        workspace.rename(temporary, publication.path)
        return True
    return workspace.sha256(publication.path) == publication.sha256
