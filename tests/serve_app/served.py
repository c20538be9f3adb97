"""The API over a real store, served by a thread: what commands and clients talk to in tests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn

from familiar.config.schema import Config
from familiar.service import SubmitRun
from serve_app.api import create_api
from serve_app.sse import Pace
from tests.serve_app.api.bakery import BODIES, GOAL, bake
from tests.serve_app.api.local_backend import LocalBackend

T = TypeVar("T")
QUICK = Pace(page=3, wait_s=5.0, progress_s=0.05, pause_s=0.05)


@dataclass(frozen=True)
class Served:
    """A running API. Its backend lives in the loop of the thread; `do` runs a coroutine there."""

    config: Config
    backend: LocalBackend
    url: str
    loop: asyncio.AbstractEventLoop

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def submit(self, goal: str = GOAL) -> str:
        return self.do(self.backend.submit(SubmitRun(goal))).run_id

    def bake(self, upto: int = len(BODIES)) -> str:
        """A run of the bakery with its first `upto` events."""
        run_id = self.submit()
        self.do(bake(self.backend, run_id, upto))
        return run_id

    def finish(self, run_id: str, since: int) -> None:
        """The rest of a bakery's events."""
        self.do(self.backend.record(run_id, *BODIES[since:]))


@contextlib.contextmanager
def served(config: Config, digests: tuple[str, ...] | None = None) -> Iterator[Served]:
    """Serve on a free port of loopback."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def main() -> None:
        async with LocalBackend(config) as backend:
            app = create_api(config, backend, digests=digests, pace=QUICK)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                server = uvicorn.Server(
                    uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
                )
                found.update(
                    backend=backend,
                    server=server,
                    port=listener.getsockname()[1],
                    loop=asyncio.get_running_loop(),
                )
                ready.set()
                await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="api")
    thread.start()
    try:
        assert ready.wait(30)
        yield Served(config, found["backend"], f"http://127.0.0.1:{found['port']}", found["loop"])
    finally:
        if "server" in found:
            found["server"].should_exit = True
        thread.join(30)
