"""The workspace process: the actor on the node that holds the files, and their only writer.

It publishes files: a whole file is written to a temporary name, forced to disk, renamed, and
committed to git. Each request is safe to repeat, and carries the orchestrator's epoch: a lower one
than the highest seen is rejected. The class is plain; its builder applies `ray.remote`. The actor
outlives the orchestrator.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from typing import Any

import ray

from actors.workspace.git import FileCommit, Repository
from cluster.named_actor import ensure_actor
from familiar.call import CallKey, Publication, Published
from familiar.errors import StaleEpoch, WorkspaceError

WORKSPACE = "workspace"
_ANSWER_S = 30.0
_AT_ONCE = 4
"""Repositories that are written at the same time. Publications for the others gather meanwhile, so
that one group of git commands serves many of them."""


class WorkspaceActor:
    """See the module. Each request is carried out once at a time."""

    def __init__(self, *, fingerprint: str = "") -> None:
        self._fingerprint = fingerprint
        self._epoch = 0
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._repositories: dict[str, Repository] = {}
        self._publishing: dict[tuple[CallKey, str], asyncio.Task[Published]] = {}

    async def pid(self) -> int:
        return os.getpid()

    async def fingerprint(self) -> str:
        """The hash of its code and settings, to tell whether it is still the right one."""
        return self._fingerprint

    async def fence(self, epoch: int) -> None:
        """From now on reject lower epochs. Raises StaleEpoch."""
        if epoch < self._epoch:
            raise StaleEpoch(
                f"This workspace process serves epoch {self._epoch}, and {epoch} asked.",
                remedy="A newer orchestrator has taken over; this one has to stop.",
            )
        self._epoch = epoch

    async def unwritable(self, root: str, paths: Sequence[str]) -> dict[str, str]:
        """Make the workspace unless it is there; the reasons against these paths, by path.

        Raises WorkspaceError when the workspace takes no file at all."""
        return await self._repository(root).unwritable(paths)

    async def publish(self, publication: Publication) -> Published:
        """Put a finished file into the workspace and its history. Safe to repeat at any point.

        Raises StaleEpoch and WorkspaceError.
        """
        await self.fence(publication.epoch)
        name = (publication.key, publication.path)
        task = self._publishing.get(name)
        if task is None:
            task = asyncio.create_task(self._publish(publication))
            self._publishing[name] = task
            task.add_done_callback(lambda _: self._publishing.pop(name, None))
        return await asyncio.shield(task)

    async def publish_all(
        self, publications: Sequence[Publication]
    ) -> list[Published | WorkspaceError]:
        """`publish` for each of them, with the error of one as its answer. Raises StaleEpoch."""
        answers = await asyncio.gather(*map(self.publish, publications), return_exceptions=True)
        return [_of_one(answer) for answer in answers]

    def _repository(self, root: str) -> Repository:
        if root not in self._repositories:
            self._repositories[root] = Repository(root, self._turns)
        return self._repositories[root]

    async def _publish(self, publication: Publication) -> Published:
        data = publication.text.encode("utf-8", "replace")
        digest = hashlib.sha256(data).hexdigest()
        if digest != publication.sha256:
            raise WorkspaceError(
                f"The publication of {publication.path} by {publication.key} carries a text with "
                f"the hash {digest}, not {publication.sha256}.",
                path=publication.path,
            )
        commit = await self._repository(publication.workspace).publish(
            FileCommit(
                publication.key, publication.path, data, publication.alias, publication.repeated
            )
        )
        return Published(publication.path, commit, len(data))


def _of_one(answer: Published | BaseException) -> Published | WorkspaceError:
    if isinstance(answer, BaseException) and not isinstance(answer, WorkspaceError):
        raise answer
    return answer


def get_workspace_actor(namespace: str, fingerprint: str) -> Any:
    """The deployment's workspace process on this node; the living one when its fingerprint is the
    same. Blocks."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    return ensure_actor(
        WorkspaceActor,
        name=WORKSPACE,
        namespace=namespace,
        fingerprint=fingerprint,
        options={
            "num_cpus": 0,
            "max_restarts": -1,
            "max_concurrency": 4096,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False),
        },
        keywords={"fingerprint": fingerprint},
        answer_s=_ANSWER_S,
        keep_silent=True,
    )
