"""The replica actor: one engine in one process, and the table of its attempts.

A call is one actor call, `attempt`, which gives the outcome with the whole text; no token crosses
Ray by itself. The class is plain: `replica_class` applies `ray.remote`. Two concurrency groups keep
questions apart from attempts: thousands of attempts may be in flight, and `status`, `progress`,
`held`, `cancel` and `release` still answer at once. Ray gives each group an event loop in a thread
of its own, so the questions hop over to the loop of the attempts.

An engine that broke does not come back in the same process. Its attempts fail with the engine's own
words, their outcomes are delivered, and then the process ends; so its supervisor learns that it has
to be replaced. A server at a URL is not ours: the replica stays, says that it is degraded, and
still sends attempts there, where they wait for the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pickle
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import ray

from actors.crash import reached
from actors.engines.build import build_engine
from actors.replica.table import AttemptProgress, Attempts
from familiar.call import CallKey, CallOrder, CallOutcome
from familiar.config.schema import PoolConfig, ReplicaConfig
from familiar.engine import Delta, Engine, EngineHealth, EngineStats, GenerateRequest
from familiar.errors import EngineError, FailureClass, FamiliarError

ReplicaState = Literal["new", "starting", "ready", "degraded", "dead", "stopped"]
T = TypeVar("T")

EXIT_CODE = 70
MAX_ATTEMPTS = 8192
MAX_QUESTIONS = 256
_GRACE_S = 5.0
_REPLY_S = 0.3
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A replica now. `detail` says in words what it does or lacks. `healthy` is false
    only when the engine was ready and cannot serve any more; a `degraded` one may serve again."""

    replica: str
    pool: str
    state: ReplicaState
    healthy: bool
    detail: str
    stats: EngineStats
    attempts: int
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
    ) -> None:
        self._pool = pool
        self._replica_id = replica_id
        self._config = config
        self._replica = replica
        self._fingerprint = fingerprint
        self._attempts = Attempts()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: Engine | None = None
        self._state: ReplicaState = "new"
        self._detail = "not started"
        self._starting: asyncio.Task[None] | None = None
        self._starting_since = 0.0
        self._watching: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._serving = 0
        self._idle = asyncio.Event()

    # -- in the event loop of the attempts -------------------------------------------------------

    async def start(self) -> None:
        """Start the engine; when it is starting or ready, wait for that. Raises EngineError or
        ConfigError with the reason; a later call tries again."""
        self._loop = asyncio.get_running_loop()
        if self._state == "ready":
            return
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def attempt(self, order: bytes) -> bytes:
        """Carry out an attempt, or attach to it where it was begun before. It goes on when its
        caller goes away, and its outcome stays until `release`. `attempted` asks for it and reads
        the answer. Raises StaleEpoch."""
        self._loop = asyncio.get_running_loop()
        task = self._attempts.begin(
            pickle.loads(order),
            lambda wanted: self._generate(wanted.request),
            producing=self._producing,
        )
        self._serving += 1
        self._idle.clear()
        try:
            outcome = await asyncio.shield(task)
            failure = outcome.failure
            if failure and failure.failure_class is FailureClass.BACKEND_UNREACHABLE:
                # The orchestrator asks for our status next, so it has to be right by then.
                await self._check()
            reached("replica/attempt_ended")
            return pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
        finally:
            self._serving -= 1
            if not self._serving:
                self._idle.set()

    async def stop(self) -> None:
        self._state, self._detail = "stopped", "stopped"
        if self._watching is not None:
            self._watching.cancel()
        await self._attempts.cancel_all()
        await self._stop_engine()

    # -- questions, in a concurrency group of their own ------------------------------------------

    @ray.method(concurrency_group="questions")
    async def fingerprint(self) -> str:
        """The hash of its code and settings, to tell whether it is still the right one."""
        return self._fingerprint

    @ray.method(concurrency_group="questions")
    async def pid(self) -> int:
        return os.getpid()

    @ray.method(concurrency_group="questions")
    async def status(self) -> ReplicaStatus:
        detail = self._detail
        if self._state == "starting":
            detail = f"{detail} for {time.monotonic() - self._starting_since:.0f} s"
        return ReplicaStatus(
            replica=self._replica_id,
            pool=self._pool,
            state=self._state,
            healthy=self._state not in {"dead", "stopped"},
            detail=detail,
            stats=EngineStats() if self._engine is None else self._engine.stats(),
            attempts=self._serving,
            devices=_devices(self._replica, os.environ.get("CUDA_VISIBLE_DEVICES", "")),
            model=self._config.model,
            pid=os.getpid(),
            host=socket.gethostname(),
            epoch=self._attempts.epoch,
        )

    @ray.method(concurrency_group="questions")
    async def probe(self) -> tuple[EngineHealth, EngineStats]:
        """Ask the engine itself how it is, now: evidence for a call that has just failed."""
        return await self._there(self._probe)

    @ray.method(concurrency_group="questions")
    async def progress(
        self, offsets: Mapping[CallKey, int] | None = None
    ) -> dict[CallKey, AttemptProgress]:
        """The running attempts, with the text from the given character offsets on."""
        return await self._there(lambda: _done(self._attempts.progress(offsets)))

    @ray.method(concurrency_group="questions")
    async def held(self, epoch: int) -> list[CallKey]:
        """The attempts in the table; the question fences off older orchestrators. Raises
        StaleEpoch."""
        return await self._there(lambda: _done(self._attempts.held(epoch)))

    @ray.method(concurrency_group="questions")
    async def cancel(self, key: CallKey) -> bool:
        return await self._there(lambda: self._attempts.cancel(key))

    @ray.method(concurrency_group="questions")
    async def release(self, keys: Sequence[CallKey]) -> None:
        """Forget attempts whose outcomes are committed."""
        await self._there(lambda: self._release(keys))

    # -- inside ----------------------------------------------------------------------------------

    async def _there(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `work` in the event loop of the attempts; here while there is none yet."""
        if self._loop is None:
            return await work()
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(_called(work), self._loop)
        )

    async def _release(self, keys: Sequence[CallKey]) -> None:
        self._attempts.release(keys)

    async def _probe(self) -> tuple[EngineHealth, EngineStats]:
        if self._engine is None:
            return EngineHealth(ok=False, reason=self._detail), EngineStats()
        return await self._engine.health(), self._engine.stats()

    async def _start(self) -> None:
        what = f"{self._config.engine} with {self._config.model}"
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
        # What is loaded by now stays, so no later collection has to look through it.
        gc.freeze()
        self._state, self._detail = "ready", ""
        if not self._engine.owned:
            await self._check()
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._config.health_interval_s)
            await self._check()

    async def _check(self) -> None:
        if self._engine is None or self._state not in {"ready", "degraded"}:
            return
        try:
            health = await self._engine.health()
            ok, reason = health.ok, health.reason
        except Exception as error:
            ok, reason = False, f"its health check failed: {error}"
        if ok:
            self._state, self._detail = "ready", ""
        elif not self._engine.owned:
            self._state, self._detail = "degraded", reason
        elif self._leaving is None:
            self._state, self._detail = "dead", reason
            self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        """End the process once the failed attempts have had their replies."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await self._idle.wait()
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
        if self._engine is None or self._state not in {"ready", "degraded"}:
            return _reject(self._replica_id, f"it is {self._state}: {self._detail}")
        return self._engine.generate(request)

    def _producing(self) -> bool:
        return self._engine is not None and self._engine.stats().tokens_per_s > 0


async def attempted(replica: Any, order: CallOrder) -> CallOutcome:
    """The outcome of an attempt at the actor `replica`. Order and outcome cross as bytes: Ray takes
    three times as long for values of our own classes. Raises what Ray raises."""
    answer: bytes = await replica.attempt.remote(pickle.dumps(order, pickle.HIGHEST_PROTOCOL))
    outcome: CallOutcome = pickle.loads(answer)
    return outcome


def replica_class() -> Any:
    """`Replica` as a Ray actor class, with its concurrency groups."""
    made: Any = ray.remote
    return made(concurrency_groups={"questions": MAX_QUESTIONS})(Replica)


async def _called(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await work()


async def _done(value: T) -> T:
    return value


async def _reject(replica_id: str, reason: str) -> AsyncIterator[Delta]:
    nothing: tuple[Delta, ...] = ()
    for delta in nothing:  # makes this function a stream
        yield delta
    raise EngineError(
        f"Replica {replica_id} cannot serve: {reason}.", evidence={"replica": replica_id}
    )


def _devices(replica: ReplicaConfig, visible: str) -> tuple[str, ...]:
    """The devices that the replica is pinned to, as words for a person."""
    if replica.gpus:
        return tuple(f"gpu {name}" for name in (visible.split(",") if visible else replica.gpus))
    if replica.cores:
        return tuple(f"core {core}" for core in replica.cores)
    return () if replica.url is None else (replica.url,)
