"""The orchestrator's side of the workspace process: its requests survive a restart of that process.

Ray restarts the actor when its process dies. A publication is sent again, because it is safe to
repeat. Every successor hears our epoch with the next request. Publications into one workspace that
wait for each other share a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from ray.exceptions import RayActorError, RayError

from actors.fingerprint import code_hash
from actors.private_file import make_private_folder
from actors.remote_error import cause_of
from actors.workspace.actor import get_workspace_actor
from actors.workspace.grouped import Grouped
from familiar.call import Publication, Published
from familiar.errors import (
    CallError,
    ClusterError,
    FailureClass,
    PathRejected,
    StaleEpoch,
    WorkspaceError,
)

ROUNDS = 12
FIRST_PAUSE_S = 0.25
LAST_PAUSE_S = 8.0
_GROUP = 16
REMEDY = "The database keeps the text; make room or repair the repository and run again."

log = logging.getLogger("familiar.workspace")


class WorkspaceClient:
    """Made and used in the orchestrator's event loop."""

    def __init__(self, namespace: str, root: Path, epoch: int) -> None:
        self.handle: Any = None
        self._namespace = namespace
        self._root = root
        self._epoch = epoch
        self._groups: WeakValueDictionary[str, Grouped[Publication, Published]] = (
            WeakValueDictionary()
        )

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
        raise ClusterError("The workspace process does not start.")

    def _open(self) -> Any:
        make_private_folder(self._root)
        return get_workspace_actor(self._namespace, code_hash())

    async def publish(self, publication: Publication) -> Published:
        """Raises `CallError` when it cannot be done, again and again, or a person has to change
        something first, and `StaleEpoch`."""

        group = self._groups.get(publication.workspace)
        if group is None:
            group = Grouped(self._publish, _GROUP, nullcontext)
            self._groups[publication.workspace] = group

        def ask(round_: int) -> Any:
            return group.ask(replace(publication, repeated=publication.repeated or round_ > 0))

        what = f"{publication.path} of {publication.key} could not be published"
        published: Published = await self._ask(ask, what, publication.path)
        return published

    async def _publish(self, group: list[Publication]) -> list[Published | Exception]:
        answers: list[Published | Exception] = await self.handle.publish_all.remote(group)
        return answers

    async def unwritable(
        self, root: str, paths: Sequence[str], *, patient: bool = True
    ) -> dict[str, str]:
        """Have a session's workspace made; the reasons against writing these paths, by path.

        Raises `StaleEpoch`, and `CallError` when the workspace takes no file at all, which is
        waited out first (a merge, a full disk) unless `patient` is False."""
        found: dict[str, str] = await self._ask(
            lambda _: self.handle.unwritable.remote(root, list(paths)),
            f"The workspace {root} cannot be used",
            root,
            patient=patient,
        )
        return found

    async def _ask(
        self, ask: Callable[[int], Any], failed: str, path: str, *, patient: bool = True
    ) -> Any:
        last: BaseException | None = None
        async for round_ in _rounds():
            try:
                return await ask(round_)
            except (RayError, WorkspaceError) as error:
                _raise_if_stale(error)
                last = cause_of(error)
                log.warning("%s: %s", failed, last)
                for_a_person = isinstance(last, PathRejected) or not patient
                if for_a_person and not isinstance(error, RayActorError):
                    break
        raise CallError(
            f"{failed}: {last}",
            failure_class=FailureClass.WORKSPACE_FAILED,
            evidence={"path": path, "rounds": round_ + 1},
            remedy="" if isinstance(last, WorkspaceError) and last.remedy else REMEDY,
        )


async def _rounds() -> AsyncIterator[int]:
    """`ROUNDS` rounds with growing pauses between them, 56 s in all."""
    pause = FIRST_PAUSE_S
    for round_ in range(ROUNDS):
        if round_:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE_S)
        yield round_


def _raise_if_stale(error: Exception) -> None:
    cause = cause_of(error)
    if isinstance(cause, StaleEpoch):
        raise cause from None
