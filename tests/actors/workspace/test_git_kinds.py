"""A publication leaves the work of a user and `git status` as they were, in every repository."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.actors.workspace.user_repository import (
    git,
    ignored,
    publish,
    sparse_index,
    user_repository,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return user_repository(tmp_path)


def sha256(root: Path) -> None:
    subprocess.run(["rm", "-rf", ".git"], cwd=root, check=True)
    git(root, "init", "-q", "-b", "main", "--object-format=sha256")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")


def unborn(root: Path) -> None:
    subprocess.run(["rm", "-rf", ".git", "run.sh", "page.md", "docs"], cwd=root, check=True)
    git(root, "init", "-q", "-b", "main")


def packed(root: Path) -> None:
    git(root, "gc", "-q")
    git(root, "pack-refs", "--all")


def staged_and_dirty_elsewhere(root: Path) -> None:
    (root / "run.sh").write_text("staged\n")
    git(root, "add", "run.sh")
    (root / "run.sh").write_text("dirty\n")
    (root / "mine.txt").write_text("untracked\n")
    (root / "intent.txt").write_text("intent\n")
    git(root, "add", "--intent-to-add", "intent.txt")


def detached(root: Path) -> None:
    git(root, "checkout", "-q", "--detach")


def many_folders(root: Path) -> None:
    """Names around a folder's in the order of trees: `docs-a` < `docs/` < `docs0`."""
    for name in ("docs-a", "docs.md", "docs0", "docs/a/b/c"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "many")


@pytest.mark.parametrize(
    "prepare",
    [
        sparse_index,
        sha256,
        unborn,
        packed,
        staged_and_dirty_elsewhere,
        ignored,
        detached,
        many_folders,
        lambda root: git(root, "update-index", "--split-index"),
        lambda root: git(root, "update-index", "--untracked-cache"),
        lambda root: git(root, "update-index", "--index-version", "4"),
        lambda root: git(root, "config", "core.ignoreCase", "true"),
        lambda root: git(root, "config", "core.autocrlf", "true"),
        lambda root: git(root, "config", "core.preloadIndex", "true"),
        lambda root: git(root, "config", "index.threads", "4"),
        lambda root: git(root, "config", "core.sharedRepository", "group"),
    ],
)
async def test_the_user_s_work_stays_and_status_is_as_before(
    root: Path, prepare: Callable[[Path], object]
) -> None:
    prepare(root)
    before = git(root, "status", "--porcelain")
    await publish(root, "docs/in.md", "one\n")
    await publish(root, "docs/new.md", "two\n", call="d")
    assert git(root, "status", "--porcelain") == before
    assert git(root, "show", "HEAD:docs/in.md") == "one"
    assert git(root, "show", "HEAD~1:docs/in.md") == "one"
    assert git(root, "show", "HEAD:docs/new.md") == "two"
    git(root, "fsck", "--strict")
