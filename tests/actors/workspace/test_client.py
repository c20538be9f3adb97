"""Publications into one workspace that wait for each other go to its process in one request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from actors.workspace.actor import WorkspaceActor
from actors.workspace.client import WorkspaceClient
from familiar.call import Publication, Published
from familiar.errors import CallError, StaleEpoch, WorkspaceError
from tests.actors.workspace.test_publish import git, publication

Answers = list[Published | WorkspaceError]


class Method:
    """A method of an actor in this process, called as Ray has it."""

    def __init__(self, method: Callable[[Sequence[Publication]], Awaitable[Answers]]) -> None:
        self._method = method
        self.sizes: list[int] = []

    def remote(self, group: Sequence[Publication]) -> Awaitable[Answers]:
        self.sizes.append(len(group))
        return self._method(group)


class Nearby:
    def __init__(self) -> None:
        self.actor = WorkspaceActor()
        self.publish_all = Method(self.actor.publish_all)


@pytest.fixture
def client(tmp_path: Path) -> WorkspaceClient:
    made = WorkspaceClient("nowhere", tmp_path, 1)
    made.handle = Nearby()
    return made


def parts(root: Path, count: int) -> list[Publication]:
    return [
        publication(root, f"part {n}\n", path=f"part-{n}.md", call=f"c{n}") for n in range(count)
    ]


async def test_publications_of_one_workspace_share_requests(
    client: WorkspaceClient, tmp_path: Path
) -> None:
    found = await asyncio.gather(*map(client.publish, parts(tmp_path / "a", 12)))
    assert [one.path for one in found] == [f"part-{n}.md" for n in range(12)]
    assert len(client.handle.publish_all.sizes) <= 2
    assert git(tmp_path / "a", "rev-list", "--count", "HEAD") == "12"


async def test_a_request_is_of_one_workspace(client: WorkspaceClient, tmp_path: Path) -> None:
    """A slow one holds up no other."""
    both = [*parts(tmp_path / "a", 2), *parts(tmp_path / "b", 2)]
    await asyncio.gather(*map(client.publish, both))
    assert sorted(client.handle.publish_all.sizes) == [2, 2]


async def test_one_that_cannot_be_published_spoils_no_other(
    client: WorkspaceClient, tmp_path: Path
) -> None:
    bad = publication(tmp_path / "a", "text", path="../out.md", call="bad")
    *found, error = await asyncio.gather(
        *map(client.publish, [*parts(tmp_path / "a", 5), bad]), return_exceptions=True
    )
    assert all(isinstance(one, Published) for one in found)
    assert isinstance(error, CallError)
    assert "../out.md" in str(error)
    assert (tmp_path / "a" / "part-4.md").read_text() == "part 4\n"


async def test_a_newer_orchestrator_is_told_to_all(client: WorkspaceClient, tmp_path: Path) -> None:
    await client.handle.actor.fence(2)
    found = await asyncio.gather(
        *map(client.publish, parts(tmp_path / "a", 3)), return_exceptions=True
    )
    assert [type(one) for one in found] == [StaleEpoch] * 3
    assert not (tmp_path / "a").exists()
