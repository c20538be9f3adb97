"""The replica actor: one engine in one process, with a workbench beside it.

The class is plain; whoever builds a pool applies `ray.remote` with the options of its placement and
a high `max_concurrency` (every method is a coroutine, all run in one event loop). Calls whose files
this node can see are ordered over `actors.order_port` and carried out here, so that no token
crosses Ray; for workbenches elsewhere `stream` passes the engine's deltas on, a few joined in one.

An engine that broke does not come back in the same process. Its calls fail with what the engine
said, their outcomes are delivered, and then the process ends, which is how its supervisor learns
that it has to be replaced. A server at a URL is not ours to end: the replica stays and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import ray

from actors.coalesce import coalesced, window_for
from actors.crash import CrashSpec, crasher
from actors.engines.build import build_engine
from actors.order_port import Line, OrderPort, PortAddress
from actors.outcome import lost_outcome
from actors.tasks import Tasks
from actors.workbench import TryProgress, TryState, Workbench
from actors.workspace import Workspace
from familiar.call import (
    CallKey,
    CallOrder,
    CallOutcome,
    Publication,
    Published,
)
from familiar.config.schema import PoolConfig, ReplicaConfig
from familiar.engine import Delta, Engine, EngineHealth, EngineStats, GenerateRequest
from familiar.errors import EngineError, FailureClass, FamiliarError, StaleEpoch

ReplicaState = Literal["new", "starting", "ready", "unhealthy", "dead", "stopped"]

EXIT_CODE = 70
_GRACE_S = 5.0
_REPLY_S = 0.3
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A replica now. `detail` says in words what it is doing or what is wrong; `healthy` is false
    only when the engine was ready and cannot serve any more."""

    replica: str
    pool: str
    state: ReplicaState
    healthy: bool
    detail: str
    stats: EngineStats
    progress: dict[CallKey, TryProgress]
    devices: tuple[str, ...]
    model: str
    pid: int
    host: str
    epoch: int


class Replica:
    """See the module. All arguments by keyword."""

    def __init__(
        self,
        *,
        pool: str,
        replica_id: str,
        config: PoolConfig,
        replica: ReplicaConfig,
        fingerprint: str = "",
        crash: CrashSpec | None = None,
    ) -> None:
        self._pool = pool
        self._replica_id = replica_id
        self._config = config
        self._replica = replica
        self._fingerprint = fingerprint
        # An actor's constructor is its entry point, so the environment is read here.
        self._workbench = Workbench(
            crasher(crash or CrashSpec.from_environment(os.environ), "replica")
        )
        self._engine: Engine | None = None
        self._state: ReplicaState = "new"
        self._detail = "not started"
        self._starting: asyncio.Task[None] | None = None
        self._starting_since = 0.0
        self._watching: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._serving = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._streams = 0
        self._port = OrderPort(self._take)
        self._port_epoch = 0
        self._tasks = Tasks()

    # -- life ------------------------------------------------------------------------------------

    async def fingerprint(self) -> str:
        """What its builder made it from, to tell whether it is still the right one."""
        return self._fingerprint

    async def start(self) -> None:
        """Start the engine; when it is starting or ready, wait for that. Raises EngineError or
        ConfigError with the reason; a later call tries again."""
        if self._state == "ready":
            return
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def status(self) -> ReplicaStatus:
        detail = self._detail
        if self._state == "starting":
            detail = f"{detail} for {time.monotonic() - self._starting_since:.0f} s"
        return ReplicaStatus(
            replica=self._replica_id,
            pool=self._pool,
            state=self._state,
            healthy=self._state not in {"unhealthy", "dead", "stopped"},
            detail=detail,
            stats=EngineStats() if self._engine is None else self._engine.stats(),
            progress=self._workbench.progress(),
            devices=_devices(self._replica, os.environ.get("CUDA_VISIBLE_DEVICES", "")),
            model=self._config.model,
            pid=os.getpid(),
            host=socket.gethostname(),
            epoch=self._workbench.epoch,
        )

    async def stop(self) -> None:
        """Cancel what is going on and end the engine."""
        self._state, self._detail = "stopped", "stopped"
        if self._watching is not None:
            self._watching.cancel()
        await self._workbench.cancel_all()
        await self._stop_engine()

    # -- calls -----------------------------------------------------------------------------------

    async def order_port(self) -> PortAddress:
        """Where orders are taken and outcomes given back. Raises `OSError`."""
        return await self._port.open(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]

    def _take(self, orders: Sequence[CallOrder], line: Line) -> None:
        """Carry out orders here, or attach to them. Raises StaleEpoch."""
        epoch = orders[0].epoch
        self._workbench.see_epoch(epoch)
        if epoch != self._port_epoch:
            # The workbench would have refused a lower one.
            self._port_epoch = epoch
            reason = StaleEpoch(f"Epoch {epoch} has taken over from this one.")
            self._port.refuse_others(line, reason)
        for order in orders:
            line.owe()
            self._begin(order).add_done_callback(partial(self._ended, order.key, line))

    def _begin(self, order: CallOrder) -> asyncio.Task[CallOutcome]:
        return self._workbench.begin(
            order,
            lambda wanted: self._generate(wanted.request),
            source_name=order.alias,
            producing=self._producing,
        )

    def _ended(self, key: CallKey, line: Line, task: asyncio.Task[CallOutcome]) -> None:
        if task.cancelled() or task.exception() is not None:
            why = "it was cancelled" if task.cancelled() else repr(task.exception())
            message = f"{key} broke in {self._replica_id}: {why}"
            line.put(lost_outcome(key, FailureClass.INTERNAL, message))
        elif (failure := task.result().failure) is None:
            line.put(task.result())
        else:
            self._tasks.spawn(self._put_failed(failure.failure_class, task.result(), line))

    async def _put_failed(self, failure: FailureClass, outcome: CallOutcome, line: Line) -> None:
        """Who hears of a failure asks for our status next, so it has to be right by then."""
        await self._look_after(failure)
        line.put(outcome)

    async def stream(self, request: GenerateRequest) -> AsyncIterator[Delta]:
        """The engine's deltas for a workbench elsewhere, joined into fewer ones. Cancel the Ray
        generator to abort; dropping it is not enough. Raises EngineError."""
        with self._served():
            self._streams += 1
            deltas = coalesced(self._generate(request), lambda: window_for(self._streams))
            try:
                async for delta in deltas:
                    yield delta
            except EngineError as error:
                await self._look_after(error.failure_class)
                raise
            finally:
                self._streams -= 1
                await deltas.aclose()  # type: ignore[attr-defined]

    async def probe(self) -> tuple[EngineHealth, EngineStats]:
        """Ask the engine itself how it is, now: evidence for a call that has just failed."""
        if self._engine is None:
            return EngineHealth(ok=False, reason=self._detail), EngineStats()
        return await self._engine.health(), self._engine.stats()

    async def abort(self, request_id: str) -> None:
        """Free what a request holds in the engine."""
        if self._engine is not None:
            await self._engine.abort(request_id)

    async def cancel(self, key: CallKey) -> bool:
        """Stop a try that is carried out here; whether there was one."""
        return await self._workbench.cancel(key)

    async def held(self, epoch: int | None = None) -> list[tuple[CallKey, TryState]]:
        """The tries in this replica's table; `epoch` fences off older orchestrators."""
        return self._workbench.held(epoch)

    async def release(self, keys: Sequence[CallKey]) -> None:
        """Forget tries whose outcomes are committed."""
        self._workbench.release(keys)

    # -- files -----------------------------------------------------------------------------------

    async def sees(self, workspace: str, token: str) -> bool:
        """Whether this node sees the workspace: its marker file holds `token`."""
        return await asyncio.to_thread(Workspace(workspace).has_mark, token)

    async def publish(self, publication: Publication) -> Published:
        """Publish a file from here. Raises StaleEpoch and WorkspaceError."""
        with self._served():
            return await self._workbench.publish(publication)

    # -- inside ----------------------------------------------------------------------------------

    async def _start(self) -> None:
        what = f"starting {self._config.engine} with {self._config.model}"
        self._state, self._detail = "starting", what
        self._starting_since = time.monotonic()
        try:
            self._engine = build_engine(self._config, self._replica, replica_id=self._replica_id)
            await self._engine.start()
        except Exception as error:
            self._state, self._detail = "new", str(error)
            await self._stop_engine()
            if isinstance(error, FamiliarError):
                raise
            raise EngineError(
                f"The engine of {self._replica_id} did not start: {type(error).__name__}: {error}",
                evidence={"replica": self._replica_id, "error": type(error).__name__},
            ) from error
        self._state, self._detail = "ready", ""
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._config.health_interval_s)
            await self._check()

    async def _look_after(self, failure: FailureClass) -> None:
        """After a failure that may mean that the engine is gone, look at once."""
        if failure == FailureClass.BACKEND_UNREACHABLE:
            await self._check()

    async def _check(self) -> None:
        if self._engine is None or self._state not in {"ready", "unhealthy"}:
            return
        try:
            health = await self._engine.health()
            ok, reason = health.ok, health.reason
        except Exception as error:
            ok, reason = False, f"its health check failed: {error}"
        if ok:
            self._state, self._detail = "ready", ""
        elif self._config.engine == "openai":
            self._state, self._detail = "unhealthy", reason
        elif self._leaving is None:
            self._state, self._detail = "dead", reason
            self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        """End the process once the failed calls have had their replies."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await self._idle.wait()
                await self._port.settled()
        await asyncio.sleep(_REPLY_S)
        await self._stop_engine()
        os._exit(EXIT_CODE)

    async def _stop_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_STOP_S):
                    await engine.stop()

    def _generate(self, request: GenerateRequest) -> AsyncIterator[Delta]:
        if self._engine is None or self._state not in {"ready", "unhealthy"}:
            return _refuse(self._replica_id, f"it is {self._state}: {self._detail}")
        return self._engine.generate(request)

    def _producing(self) -> bool:
        return self._engine is not None and self._engine.stats().tokens_per_s > 0

    @contextlib.contextmanager
    def _served(self) -> Iterator[None]:
        self._serving += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._serving -= 1
            if not self._serving:
                self._idle.set()


async def _refuse(replica_id: str, reason: str) -> AsyncIterator[Delta]:
    nothing: tuple[Delta, ...] = ()
    for delta in nothing:  # what makes this a stream
        yield delta
    raise EngineError(
        f"Replica {replica_id} cannot serve: {reason}.", evidence={"replica": replica_id}
    )


def _devices(replica: ReplicaConfig, visible: str) -> tuple[str, ...]:
    """What the replica is pinned to, as words for a person."""
    if replica.gpus:
        return tuple(f"gpu {name}" for name in (visible.split(",") if visible else replica.gpus))
    if replica.cores:
        return tuple(f"core {core}" for core in replica.cores)
    return () if replica.url is None else (replica.url,)
