"""The orchestrator's side of the workbench beside the workspace: what it asks survives a restart.

Ray restarts the actor when its process dies; an answer that does not come says only that. So a
publication is sent again (it is safe to repeat), and for a try the workbench that answers next is
asked whether it knows it: the same process does, and is asked for the outcome again; its successor
does not, and the try is lost. The same question fences the successor with our epoch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError, RayError

from actors.fingerprint import code_hash
from actors.remote_error import cause_of
from actors.workbench import TryState
from actors.workbench_actor import get_workbench
from actors.workspace import Workspace
from familiar.call import CallKey, CallOrder, CallOutcome, Publication, Published
from familiar.errors import CallError, ClusterError, FailureClass, StaleEpoch

TRIES = 12
FIRST_PAUSE_S = 0.25
LAST_PAUSE_S = 8.0

log = logging.getLogger("familiar.workbench")


class WorkbenchClient:
    """Made and used in the orchestrator's event loop. `mark` is the token of the workspaces' root,
    by which other nodes can tell that they see the same folder."""

    def __init__(self, namespace: str, root: str, epoch: int) -> None:
        self.handle: Any = None
        self.mark = ""
        self._namespace = namespace
        self._root = Path(root)
        self._epoch = epoch
        self._workspaces: dict[str, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Find the workbench, or start it."""
        self.handle = await asyncio.to_thread(self._open)

    def _open(self) -> Any:
        self._root.mkdir(parents=True, exist_ok=True)
        self.mark = Workspace(self._root).mark()
        return get_workbench(self._namespace, code_hash())

    async def carry_out(self, order: CallOrder, replica: str, source: Any) -> CallOutcome | None:
        """The outcome of a try with the stream of `source`, the replica's handle; None when the
        workbench that had the try is gone. Raises `StaleEpoch`."""
        for _ in range(TRIES):
            try:
                outcome: CallOutcome = await self.handle.carry_out.remote(order, replica, source)
                return outcome
            except RayError as error:
                _raise_if_stale(error)
                log.warning("the workbench did not answer for %s: %s", order.key, error)
            if not await self._knows(order.key):
                return None
        return None

    async def _knows(self, key: CallKey) -> bool:
        """Whether the workbench has this try, as soon as there is one to ask."""
        async for _ in _rounds():
            try:
                held: list[tuple[CallKey, TryState]] = await self.handle.held.remote(self._epoch)
                return any(known == key for known, _ in held)
            except RayError as error:
                _raise_if_stale(error)
        return False

    async def publish(self, publication: Publication) -> Published:
        """Raises `CallError` when it cannot be done, again and again, and `StaleEpoch`."""
        last: BaseException | None = None
        async for _ in _rounds():
            try:
                published: Published = await self.handle.publish.remote(publication)
                return published
            except RayError as error:
                _raise_if_stale(error)
                last = cause_of(error)
                log.warning("publishing %s for %s: %s", publication.path, publication.key, last)
        raise CallError(
            f"{publication.path} of {publication.key} could not be published: {last}",
            failure_class=FailureClass.WORKSPACE_FAILED,
            evidence={"path": publication.path, "tries": TRIES},
            remedy="The database keeps the text; make room or mend the repository and run again.",
        )

    async def ensure_workspace(self, root: str) -> None:
        """Have a session's workspace made, once. Raises `CallError`, `ClusterError`."""
        making = self._workspaces.get(root)
        if making is None or (making.done() and making.exception() is not None):
            making = asyncio.ensure_future(self._make_workspace(root))
            self._workspaces[root] = making
        await asyncio.shield(making)

    async def _make_workspace(self, root: str) -> None:
        async for _ in _rounds():
            try:
                await self.handle.create_workspace.remote(root)
                return
            except RayActorError:
                continue
            except RayError as error:
                raise CallError(
                    str(cause_of(error)),
                    failure_class=FailureClass.WORKSPACE_FAILED,
                    evidence={"workspace": root},
                ) from None
        raise ClusterError("The workbench beside the workspace does not come up.")


async def _rounds() -> AsyncIterator[int]:
    """`TRIES` rounds with growing pauses between them, 56 s in all."""
    pause = FIRST_PAUSE_S
    for round_ in range(TRIES):
        if round_:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE_S)
        yield round_


def _raise_if_stale(error: RayError) -> None:
    cause = cause_of(error)
    if isinstance(cause, StaleEpoch):
        raise cause from None
