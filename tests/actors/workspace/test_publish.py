"""A publication is written and committed once, whatever happens between its steps."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from actors.workspace.actor import WorkspaceActor
from familiar.call import CallKey, Publication, Published
from familiar.errors import StaleEpoch, WorkspaceError


def publication(
    root: Path, text: str, *, path: str = "page.html", epoch: int = 1, call: str = "c"
) -> Publication:
    return Publication(
        key=CallKey("run", call, 1),
        epoch=epoch,
        workspace=str(root),
        path=path,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        text=text,
        alias="grandpa",
    )


def git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def assert_published(root: Path, published: Published, text: str, commits: int = 1) -> None:
    assert (root / published.path).read_text() == text
    assert git(root, "show", f"{published.commit}:{published.path}") == text.strip()
    assert git(root, "rev-list", "--count", "HEAD") == str(commits)
    assert git(root, "status", "--porcelain") == ""
    assert published.bytes == len(text.encode())


async def test_a_lower_epoch_is_rejected_and_writes_nothing(tmp_path: Path) -> None:
    publisher = WorkspaceActor()
    await publisher.fence(5)
    with pytest.raises(StaleEpoch, match="epoch 5"):
        await publisher.publish(publication(tmp_path, "text", epoch=4))
    assert os.listdir(tmp_path) == []


async def test_publishing_is_safe_to_repeat_from_every_state_of_the_files(tmp_path: Path) -> None:
    publisher = WorkspaceActor()
    wanted = publication(tmp_path, "words\n")
    first = await publisher.publish(wanted)
    assert_published(tmp_path, first, "words\n")
    again = replace(wanted, repeated=True)
    assert await publisher.publish(again) == first  # all done
    (tmp_path / "page.html").unlink()
    assert await publisher.publish(again) == first  # the user's removal stays
    assert not (tmp_path / "page.html").exists()
    (tmp_path / "page.html").write_text("words\n")
    together = await asyncio.gather(*(publisher.publish(again) for _ in range(5)))
    assert set(together) == {first}
    assert_published(tmp_path, first, "words\n")


async def test_a_repeat_does_not_undo_what_came_later(tmp_path: Path) -> None:
    publisher = WorkspaceActor()
    old = await publisher.publish(publication(tmp_path, "old\n", call="one"))
    await publisher.publish(publication(tmp_path, "new\n", call="two"))
    again = replace(publication(tmp_path, "old\n", call="one"), repeated=True)
    assert await WorkspaceActor().publish(again) == old
    assert (tmp_path / "page.html").read_text() == "new\n"
    assert git(tmp_path, "rev-list", "--count", "HEAD") == "2"


@pytest.mark.parametrize("path", ["../page.html", "link/page.html", ".git/hooks/x", "/tmp/x"])
async def test_a_path_that_leaves_the_workspace_is_rejected_and_writes_nothing(
    tmp_path: Path, path: str
) -> None:
    root, outside = tmp_path / "ws", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    publisher = WorkspaceActor()
    await publisher.unwritable(str(root), [])
    with pytest.raises(WorkspaceError) as caught:
        await publisher.publish(publication(root, "kept", path=path))
    assert caught.value.path == path
    assert os.listdir(outside) == []
    assert not (tmp_path / "page.html").exists()
    assert not (root / ".git/hooks/x").exists()


async def test_a_full_disk_while_publishing_is_named_and_a_repeat_succeeds(
    small_disk: Path,
) -> None:
    publisher = WorkspaceActor()
    await publisher.unwritable(str(small_disk), [])
    hog = small_disk / "hog"
    free = os.statvfs(small_disk)
    hog.write_bytes(b"x" * max(free.f_bavail * free.f_bsize - 4096, 0))
    text = "word " * 2000
    with pytest.raises(WorkspaceError, match=r"disk .* full|No space left"):
        await publisher.publish(publication(small_disk, text))
    hog.unlink()
    published = await publisher.publish(publication(small_disk, text))
    assert (small_disk / "page.html").read_text() == text
    assert git(small_disk, "cat-file", "-t", published.commit) == "commit"


async def test_a_text_that_is_not_what_its_hash_says_is_rejected(tmp_path: Path) -> None:
    wrong = replace(publication(tmp_path, "text"), text="other")
    with pytest.raises(WorkspaceError, match="hash"):
        await WorkspaceActor().publish(wrong)
    assert os.listdir(tmp_path) == []


# -- crashes -------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, json, sys
from actors.workspace.actor import WorkspaceActor
from familiar.call import CallKey, Publication

async def main(fields):
    fields["key"] = CallKey(*fields["key"])
    published = await WorkspaceActor().publish(Publication(**fields))
    print(published.commit)

asyncio.run(main(json.loads(sys.argv[1])))
"""


def publish_in_a_process(wanted: Publication, armed: Path) -> int:
    fields = {
        "key": [wanted.key.run_id, wanted.key.call_id, wanted.key.attempt],
        "epoch": wanted.epoch,
        "workspace": wanted.workspace,
        "path": wanted.path,
        "sha256": wanted.sha256,
        "text": wanted.text,
        "alias": wanted.alias,
        "repeated": wanted.repeated,
    }
    environment = os.environ | {"FAMILIAR_CRASH": str(armed)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(fields)],
        env=environment,
        cwd=Path(__file__).resolve().parents[3],
        check=False,
        timeout=60,
    )
    return done.returncode


@pytest.mark.parametrize("point", ["written", "renamed", "committed"])
def test_a_kill_between_the_steps_of_a_publication_is_repaired_by_repeating_it(
    tmp_path: Path, point: str
) -> None:
    root = tmp_path / "ws"
    armed = tmp_path / "armed"
    armed.write_text(f"workspace/{point}:1")
    wanted = publication(root, "words\n")
    asyncio.run(WorkspaceActor().unwritable(str(root), []))
    assert publish_in_a_process(wanted, armed) == -signal.SIGKILL
    assert not armed.exists()
    assert (root / "page.html").exists() == (point != "written")
    committed = point == "committed"
    assert bool(git(root, "rev-list", "--all")) == committed

    again_wanted = replace(wanted, repeated=True)
    assert publish_in_a_process(again_wanted, armed) == 0  # nothing is armed any more
    again = asyncio.run(WorkspaceActor().publish(replace(wanted, repeated=True)))
    assert_published(root, again, "words\n")
