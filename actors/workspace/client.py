"""The orchestrator's side of the workspace process: its requests survive a restart of that process.

Ray restarts the actor when its process dies. A publication is sent again, because it is safe to
repeat. Every successor hears our epoch with the next request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError, RayError

from actors.fingerprint import code_hash
from actors.remote_error import cause_of
from actors.workspace.actor import get_workspace_actor
from familiar.call import Publication, Published
from familiar.errors import CallError, ClusterError, FailureClass, StaleEpoch

ROUNDS = 12
FIRST_PAUSE_S = 0.25
LAST_PAUSE_S = 8.0

log = logging.getLogger("familiar.workspace")


class WorkspaceClient:
    """Made and used in the orchestrator's event loop."""

    def __init__(self, namespace: str, root: Path, epoch: int) -> None:
        self.handle: Any = None
        self._namespace = namespace
        self._root = root
        self._epoch = epoch
        self._workspaces: dict[str, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Find the workspace process or start it, and fence off older orchestrators.

        Raises `StaleEpoch`, `ClusterError`."""
        self.handle = await asyncio.to_thread(self._open)
        async for _ in _rounds():
            try:
                await self.handle.fence.remote(self._epoch)
                return
            except RayError as error:
                _raise_if_stale(error)
        raise ClusterError("The workspace process does not come up.")

    def _open(self) -> Any:
        self._root.mkdir(parents=True, exist_ok=True)
        return get_workspace_actor(self._namespace, code_hash())

    async def publish(self, publication: Publication) -> Published:
        """Raises `CallError` when it cannot be done, again and again, and `StaleEpoch`."""
        await self.ensure_workspace(publication.workspace)
        last: BaseException | None = None
        async for round_ in _rounds():
            if round_:
                publication = replace(publication, repeated=True)
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
            evidence={"path": publication.path, "rounds": ROUNDS},
            remedy="The database keeps the text; make room or repair the repository and run again.",
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
        raise ClusterError("The workspace process does not come up.")


async def _rounds() -> AsyncIterator[int]:
    """`ROUNDS` rounds with growing pauses between them, 56 s in all."""
    pause = FIRST_PAUSE_S
    for round_ in range(ROUNDS):
        if round_:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE_S)
        yield round_


def _raise_if_stale(error: RayError) -> None:
    cause = cause_of(error)
    if isinstance(cause, StaleEpoch):
        raise cause from None
