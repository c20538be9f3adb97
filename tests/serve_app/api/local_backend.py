"""A backend in this process: the orchestrator's real intake, recorder and store, without replicas.

What a run's replicas would bring is recorded by the test itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Concatenate, Self

from actors.orchestrator.intake import Intake
from actors.orchestrator.recorder import Recorder
from actors.store.queries import Reader
from actors.store.store import Store
from familiar.config.load import config_hash
from familiar.config.schema import Config
from familiar.event import Body, Draft, RunCancelRequested, RunEnded, text_ref
from familiar.goal import read_goal
from familiar.service import CallProgress, PoolView, Readiness, RunReceipt, SubmitRun
from serve_app.backend import P, T


class LocalBackend:
    """Implements `serve_app.backend.Backend`. Use it as an async context."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.ready = Readiness(True)
        self.views: tuple[PoolView, ...] = ()
        self.running: tuple[CallProgress, ...] = ()
        self.polls = 0
        self.open_polls = 0
        self.polled = asyncio.Event()
        self.unpolled = asyncio.Event()

    async def __aenter__(self) -> Self:
        url = self.config.store.url
        self.store = await asyncio.to_thread(lambda: Store.open(url, create=True))
        self.recorder = Recorder(self.store, self.store.take_epoch())
        self.intake = Intake(self.config, config_hash(self.config), self.store)
        self.reader = Reader.open(url)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.recorder.close()
        self.reader.close()
        self.store.close()

    async def record(self, run_id: str, *bodies: Body, texts: tuple[str, ...] = ()) -> None:
        """Commit what replicas and planner would have brought."""
        stored = {text_ref(text).sha256: text for text in texts}
        at = time.time()
        drafts = [
            Draft(run_id, body, at, stored if i == 0 else {}) for i, body in enumerate(bodies)
        ]
        await self.recorder.record(drafts)

    async def read(
        self, query: Callable[Concatenate[Reader, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await asyncio.to_thread(query, self.reader, *args, **kwargs)

    async def submit(self, order: SubmitRun) -> RunReceipt:
        goal = read_goal(order.goal, max_bytes=self.config.api.max_goal_bytes, files=order.files)
        accepted = await self.intake.accept(order, goal)
        if accepted.draft is not None:
            await self.recorder.record([accepted.draft])
        return accepted.receipt

    async def cancel(self, run_id: str, reason: str) -> str:
        row = await self.read(Reader.run, run_id)
        if row.outcome is None:
            await self.record(
                run_id,
                RunCancelRequested(reason=reason),
                RunEnded(outcome="cancelled", reason=reason or "Cancelled."),
            )
        return (await self.read(Reader.run, run_id)).status

    async def wait_beyond(self, run_id: str, seq: int, timeout_s: float) -> int:
        self.polls += 1
        self.open_polls += 1
        self.polled.set()
        try:
            return await self.recorder.wait_beyond(run_id, seq, timeout_s)
        finally:
            self.open_polls -= 1
            if not self.open_polls:
                self.unpolled.set()

    async def pools(self) -> tuple[PoolView, ...]:
        return self.views

    async def progress(self, run_id: str) -> tuple[CallProgress, ...]:
        return self.running

    async def readiness(self) -> Readiness:
        return self.ready
