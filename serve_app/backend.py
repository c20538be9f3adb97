"""The backend of the API: the orchestrator for new work, the store for the past.

The API is written against this protocol, so the same routes run over the orchestrator actor
(`remote.py`) and, in tests, over an orchestrator in the same process; the store is real in both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from actors.store.queries import Reader
from familiar.service import CallProgress, PoolView, Readiness, RunReceipt, SubmitRun

P = ParamSpec("P")
T = TypeVar("T")


class Backend(Protocol):
    """The orchestrator's methods, and queries of its store.

    All methods raise the errors of `familiar.errors`; `ClusterError` when the orchestrator cannot
    be reached, which says nothing about whether a submission was recorded.
    """

    async def read(
        self, query: Callable[Concatenate[Reader, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `query` in a thread with the store's reader as its first argument."""

    async def submit(self, order: SubmitRun) -> RunReceipt:
        """Return once `run.submitted` is committed."""

    async def cancel(self, run_id: str, reason: str) -> str:
        """Return the run's status: `cancelling`, or how it had ended already."""

    async def wait_beyond(self, run_id: str, seq: int, timeout_s: float) -> int:
        """Return the run's last committed seq, as soon as it is greater than `seq` and at the
        latest after `timeout_s` seconds."""

    async def pools(self) -> tuple[PoolView, ...]: ...

    async def progress(self, run_id: str) -> tuple[CallProgress, ...]: ...

    async def readiness(self) -> Readiness: ...
