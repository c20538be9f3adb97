"""All that a deployment makes can be read by its user only, whatever the umask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.private_file import make_private_folder, open_private
from actors.store.address import Address
from actors.store.run_log import LogLines, RunLog
from actors.store.schema import create_sqlite
from actors.workspace.git import FileCommit, Repository
from familiar.call import CallKey
from familiar.event import Event, RunCancelRequested


def modes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): f"{path.lstat().st_mode & 0o777:o}"
        for path in (root, *sorted(root.rglob("*")))
    }


@pytest.fixture(params=[0o000, 0o022, 0o077], autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_folders_that_are_missing_are_private_and_others_stay(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path / "a" / "b")
    make_private_folder(tmp_path / "a" / "b")
    assert modes(tmp_path) == {".": "755", "a": "700", "a/b": "700"}


def test_a_private_file_is_so_from_its_first_moment_and_an_old_one_becomes_so(
    tmp_path: Path,
) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(0o644)
    for name in ("old", "new"):
        os.close(open_private(tmp_path / name, os.O_WRONLY | os.O_CREAT))
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_the_log_is_private(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "state" / "orchestra.log", LogLines())
    log.add([Event("r", 1, 1, 0.0, RunCancelRequested(reason="enough"))])
    log.flush()
    log.close()
    assert (tmp_path / "state" / "orchestra.log").stat().st_size
    assert modes(tmp_path / "state") == {".": "700", "orchestra.log": "600"}


def test_a_new_database_is_private(tmp_path: Path) -> None:
    create_sqlite(Address.parse(f"sqlite:///{tmp_path}/state/deep/familiar.db"))
    found = modes(tmp_path / "state")
    assert found.pop("deep/familiar.db") == "600"
    assert set(found.values()) == {"700"}


async def test_a_new_workspace_is_private_with_all_that_is_in_it(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    await Repository(root).publish(FileCommit(CallKey("r", "c", 1), "docs/a.md", b"text"))
    found = modes(root)
    assert found["."] == found["docs"] == found[".familiar"] == found[".git"] == "700"
    assert found["docs/a.md"] == "600"
    open_to_others = {path: mode for path, mode in found.items() if not mode.endswith("00")}
    assert open_to_others == {}


async def test_a_shared_repository_stays_shared(tmp_path: Path, umask: int) -> None:
    root = tmp_path / "ws"
    root.mkdir(mode=0o775)
    root.chmod(0o775)
    await Repository(root).publish(FileCommit(CallKey("r", "c", 1), "docs/a.md", b"text"))
    found = modes(root)
    assert found["docs"] == f"{0o775 & ~umask:o}"
    assert found["docs/a.md"] == f"{0o664 & ~umask:o}"
