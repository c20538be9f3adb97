"""The orchestrator actor as the API's backend.

The actor is found by name and found again after it was restarted: a call that meets a dead actor
fails with `ClusterError` (503, to be sent again) and the next one looks the name up anew. Nothing
is sent twice from here, because only the client knows whether its request may be repeated; an
`Idempotency-Key` makes it safe. A wait whose client has left is cancelled in the actor too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, cast

import ray
from ray.exceptions import RayActorError, RayTaskError

from actors.remote_error import cause_of
from actors.store.queries import Reader
from familiar.errors import ClusterError, DeploymentEnded
from familiar.service import (
    ORCHESTRATOR,
    CallProgress,
    PoolView,
    Readiness,
    RunReceipt,
    SubmitRun,
)
from serve_app import history
from serve_app.backend import P, T

_ANSWER_S = 30.0
# Together no more than the reader has connections.
_FOLLOWER_THREADS = 4
_OTHER_THREADS = 8


class RemoteBackend:
    """Implements `Backend` over the actor `orchestrator` in `namespace`."""

    def __init__(self, namespace: str, store_url: str) -> None:
        self._namespace = namespace
        self._store_url = store_url
        self._opening = threading.Lock()
        # However many followers begin or read on at once, others never queue behind them.
        self._followers = ThreadPoolExecutor(_FOLLOWER_THREADS, "follow")
        self._others = ThreadPoolExecutor(_OTHER_THREADS, "read")
        self._reader: Reader | None = None
        self._actor: Any = None

    async def read(
        self, query: Callable[Concatenate[Reader, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        of_followers = query in (Reader.events, history.last_seq)
        threads = self._followers if of_followers else self._others
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads, lambda: query(self._open(), *args, **kwargs))

    def _open(self) -> Reader:
        """The reader, opened by the first query: the orchestrator makes the database while it
        starts, after the API is there. Raises `StoreError` as long as there is none."""
        with self._opening:
            if self._reader is None:
                self._reader = Reader.open(self._store_url)
            return self._reader

    async def submit(self, order: SubmitRun) -> RunReceipt:
        return cast("RunReceipt", await self._ask("submit", order))

    async def cancel(self, run_id: str, reason: str) -> str:
        return cast("str", await self._ask("cancel", run_id, reason))

    async def wait_beyond(self, run_id: str, seq: int, timeout_s: float) -> int:
        answer_s = timeout_s + _ANSWER_S
        return int(await self._ask("wait_beyond", run_id, seq, timeout_s, answer_s=answer_s))

    async def pools(self) -> tuple[PoolView, ...]:
        return cast("tuple[PoolView, ...]", await self._ask("pools"))

    async def progress(self, run_id: str) -> tuple[CallProgress, ...]:
        return cast("tuple[CallProgress, ...]", await self._ask("progress", run_id))

    async def readiness(self) -> Readiness:
        return cast("Readiness", await self._ask("readiness"))

    async def _ask(self, method: str, *args: object, answer_s: float = _ANSWER_S) -> Any:
        actor = await self._find()
        ref = getattr(actor, method).remote(*args)
        try:
            return await asyncio.wait_for(_result(ref), answer_s)
        except asyncio.CancelledError:
            ray.cancel(ref)
            raise
        except TimeoutError:
            ray.cancel(ref)
            raise ClusterError(
                f"The orchestrator did not answer {method} within {answer_s:.0f} s.",
                remedy="Send it again (with the same Idempotency-Key, if it was a submission).",
            ) from None
        except RayTaskError as error:
            raise cause_of(error) from error
        except RayActorError:
            self._actor = None
            raise ClusterError(
                f"The orchestrator went away during {method}; it is being restarted.",
                remedy="Send it again (with the same Idempotency-Key, if it was a submission).",
            ) from None

    async def _find(self) -> Any:
        if self._actor is None:
            try:
                self._actor = await asyncio.to_thread(
                    ray.get_actor, ORCHESTRATOR, namespace=self._namespace
                )
            except ValueError:
                raise DeploymentEnded(
                    f"There is no orchestrator in {self._namespace}.",
                    remedy="It may be starting; ask again. Otherwise deploy the application anew.",
                ) from None
        return self._actor


async def _result(ref: Any) -> Any:
    return await ref
