"""A publication leaves the work of a user and `git status` as they were, in every repository."""

from __future__ import annotations

import os
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


def names_of_latin1(root: Path) -> None:
    folder = os.fsencode(root) + b"/docs/caf\xe9"
    os.makedirs(folder)
    Path(os.fsdecode(folder + b"/n\xff.md")).write_text("x")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "latin1")


def named_like_git(root: Path) -> None:
    """A file, a branch and a tag of the name HEAD."""
    (root / "HEAD").write_text("x")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "HEAD")
    git(root, "update-ref", "refs/heads/HEAD", "main")
    git(root, "update-ref", "refs/tags/HEAD", "main")


def excluded_in_latin1(root: Path) -> None:
    (root / ".git/info/exclude").write_bytes(b"# caf\xe9\n*.o")


def strict_line_ends(root: Path) -> None:
    (root / ".gitattributes").write_text("*.md text eol=lf\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "ends")
    git(root, "config", "core.safecrlf", "true")


def squashed(root: Path) -> None:
    git(root, "checkout", "-q", "-b", "other")
    (root / "more.txt").write_text("more\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "more")
    git(root, "checkout", "-q", "main")
    git(root, "merge", "-q", "--squash", "other")


def conflict_elsewhere(root: Path) -> None:
    (root / "run.sh").write_text("a\n")
    git(root, "stash", "-q")
    (root / "run.sh").write_text("b\n")
    git(root, "commit", "-q", "-a", "-m", "b")
    git(root, "stash", "pop", "-q", code=1)


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
        lambda root: git(root, "config", "core.ignoreStat", "true"),
        lambda root: git(root, "config", "core.checkStat", "minimal"),
        lambda root: git(root, "config", "core.symlinks", "false"),
        lambda root: git(root, "config", "feature.manyFiles", "true"),
        lambda root: git(root, "config", "color.ui", "always"),
        lambda root: git(root, "config", "i18n.commitEncoding", "latin1"),
        lambda root: git(root, "checkout", "-q", "-b", "日本/ü"),
        names_of_latin1,
        named_like_git,
        excluded_in_latin1,
        strict_line_ends,
        squashed,
        conflict_elsewhere,
    ],
)
async def test_the_user_s_work_stays_and_status_is_as_before(
    root: Path, prepare: Callable[[Path], object]
) -> None:
    prepare(root)
    before = git(root, "status", "--porcelain")
    await publish(root, "docs/in.md", "one\n")
    await publish(root, "docs/new.md", "two\r\n", call="d")
    await publish(root, "docs/new.md", "two\n", call="e")
    await publish(root, "docs/new.md", "two\n", call="e")
    assert git(root, "status", "--porcelain") == before
    assert git(root, "show", "HEAD:docs/in.md") == "one"
    assert git(root, "show", "HEAD~2:docs/in.md") == "one"
    assert git(root, "show", "HEAD:docs/new.md") == "two"
    git(root, "fsck", "--strict")
