"""A path is committed as `git add` would do it, or rejected before anything is written."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.workspace.actor import WorkspaceActor
from familiar.errors import PathRejected, WorkspaceError
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


def state(root: Path) -> object:
    """All that a rejected publication must leave as it is."""
    files = {
        str(file.relative_to(root)): file.lstat().st_mtime_ns
        for file in root.rglob("*")
        if not {".git", ".familiar"} & set(file.relative_to(root).parts)
    }
    return files, git(root, "rev-parse", "HEAD"), git(root, "ls-files", "-s")


# -- supported -----------------------------------------------------------------------------------


@pytest.mark.parametrize("file_mode", ["true", "false"])
@pytest.mark.parametrize("there", [True, False])
async def test_an_executable_file_stays_one(root: Path, file_mode: str, there: bool) -> None:
    git(root, "config", "core.fileMode", file_mode)
    if not there:
        (root / "run.sh").unlink()
    await publish(root, "run.sh", "new\n")
    assert git(root, "ls-tree", "HEAD", "run.sh").startswith("100755")
    assert os.access(root / "run.sh", os.X_OK)
    assert git(root, "status", "--porcelain") == ""


async def test_a_file_that_was_left_by_an_interrupted_publication_is_replaced(root: Path) -> None:
    """Written, and not committed: its text is one of git's objects, so it is ours to replace."""
    (root / "page.md").write_text("left\n")
    git(root, "hash-object", "-w", "page.md")
    await publish(root, "page.md", "new\n")
    assert git(root, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    "attributes", ["* text", "* text=auto", "* eol=crlf", "* ident", "* -text", "* binary"]
)
async def test_text_is_stored_as_git_stores_it(root: Path, attributes: str) -> None:
    (root / ".git/info/attributes").write_text(attributes + "\n")
    await publish(root, "page.md", "a\r\n$Id: old $\r\nb\r\n")
    assert (root / "page.md").read_bytes() == b"a\r\n$Id: old $\r\nb\r\n"
    assert git(root, "status", "--porcelain") == ""
    await publish(root, "new.md", "a\nb\n")
    assert git(root, "status", "--porcelain") == ""


@pytest.mark.parametrize("path", [":(top)x.md", "a*b.md", "a[b].md", "docs/:x", "d?c/é"])
async def test_a_path_is_no_pattern(root: Path, path: str) -> None:
    await publish(root, path, "text\n")
    await publish(root, path, "again\n")
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "show", "--format=", "--name-only", "-z", "HEAD").rstrip("\0") == path


async def test_a_file_beside_a_submodule_is_committed(root: Path) -> None:
    with_submodule(root)
    await publish(root, "vendor/notes.md", "text\n")
    assert git(root, "ls-tree", "HEAD", "vendor/lib").startswith("160000")
    assert git(root, "status", "--porcelain") == ""


# -- rejected ------------------------------------------------------------------------------------


def with_submodule(root: Path) -> None:
    git(root, "submodule", "add", "-q", str(root), "vendor/lib")
    git(root, "commit", "-q", "-m", "submodule")


def with_bare_submodule(root: Path) -> None:
    with_submodule(root)
    git(root, "submodule", "deinit", "-q", "-f", "vendor/lib")


def with_nested_repository(root: Path) -> None:
    (root / "vendor/lib").mkdir(parents=True)
    git(root / "vendor/lib", "init", "-q")


def with_link(root: Path) -> None:
    (root / "page.md").unlink()
    (root / "page.md").symlink_to("run.sh")


def with_linked_folder(root: Path) -> None:
    (root / "vendor").symlink_to("docs")


def with_committed_link(root: Path) -> None:
    with_link(root)
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "link")
    (root / "page.md").unlink()


def with_folder(root: Path) -> None:
    (root / "docs/in.md").unlink()
    (root / "docs").rmdir()


def with_deleted_file(root: Path) -> None:
    (root / "page.md").unlink()


def with_filter(root: Path) -> None:
    (root / ".gitattributes").write_text("*.md filter=lfs diff=lfs merge=lfs -text\n")


def with_encoding(root: Path) -> None:
    (root / ".gitattributes").write_text("*.md working-tree-encoding=UTF-16LE-BOM\n")


def with_sparse_checkout(root: Path) -> None:
    git(root, "sparse-checkout", "set", "--no-cone", "/*", "!/page.md")


def with_cone(root: Path) -> None:
    sparse_index(root)


def with_dirty_file(root: Path) -> None:
    (root / "page.md").write_text("mine\n")


def with_staged_file(root: Path) -> None:
    with_dirty_file(root)
    git(root, "add", "page.md")


def with_staged_new_file(root: Path) -> None:
    (root / "new.md").write_text("mine\n")
    git(root, "add", "new.md")
    (root / "new.md").unlink()


def with_untracked_file(root: Path) -> None:
    (root / "new.md").write_text("mine\n")


def with_intent(root: Path) -> None:
    with_untracked_file(root)
    git(root, "add", "--intent-to-add", "new.md")


def with_ignored_file(root: Path) -> None:
    ignored(root)
    with_untracked_file(root)


def with_assumed_file(root: Path) -> None:
    git(root, "update-index", "--assume-unchanged", "page.md")


def with_skipped_file(root: Path) -> None:
    git(root, "update-index", "--skip-worktree", "page.md")


def with_decomposed_name(root: Path) -> None:
    (root / "cafe\u0301.md").write_text("x")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "decomposed")


def with_ignored_case(root: Path) -> None:
    git(root, "config", "core.ignoreCase", "true")


def with_committed_file_above(root: Path) -> None:
    (root / "page.md").unlink()
    git(root, "rm", "-q", "--cached", "page.md")


def with_unmerged_entry(root: Path) -> None:
    blob = git(root, "rev-parse", "HEAD:page.md")
    lines = "".join(f"100644 {blob} {stage}\tpage.md\n" for stage in (1, 2, 3))
    zero = f"0 {'0' * 40}\tpage.md\n"
    subprocess.run(
        ["git", "update-index", "--index-info"], cwd=root, input=(zero + lines).encode(), check=True
    )


@pytest.mark.parametrize(
    ("prepare", "path", "words"),
    [
        (with_submodule, "vendor/lib/notes.md", "vendor/lib is a submodule"),
        (with_submodule, "vendor/lib/deep/notes.md", "vendor/lib is a submodule"),
        (with_submodule, "vendor/lib", "a folder|a submodule"),
        (with_bare_submodule, "vendor/lib/notes.md", "vendor/lib is a submodule"),
        (with_nested_repository, "vendor/lib/a/notes.md", "another repository"),
        (with_link, "page.md", "symbolic link"),
        (with_linked_folder, "vendor/new.md", "symbolic link"),
        (with_committed_link, "page.md", "symbolic link"),
        (with_folder, "docs", "folder"),
        (with_deleted_file, "page.md/new.md", "page.md is a file"),
        (with_filter, "page.md", "filter=lfs"),
        (with_filter, "new.md", "filter=lfs"),
        (with_encoding, "page.md", "working-tree-encoding"),
        (with_sparse_checkout, "page.md", "sparse checkout"),
        (with_unmerged_entry, "page.md", "conflicts"),
        (with_cone, "big/new.md", "sparse checkout"),
        (with_cone, "big/far.md", "sparse checkout"),
        (with_dirty_file, "page.md", "not committed"),
        (with_staged_file, "page.md", "staged changes"),
        (with_staged_new_file, "new.md", "staged and not committed"),
        (with_untracked_file, "new.md", "git does not have it"),
        (with_intent, "new.md", "not committed"),
        (with_ignored_file, "new.md", "git does not have it"),
        (with_assumed_file, "page.md", "assume"),
        (with_skipped_file, "page.md", "sparse checkout"),
        (with_decomposed_name, "caf\u00e9.md", "same name"),
        (with_ignored_case, "PAGE.md", "same name"),
        (with_ignored_case, "Docs/new.md", "same name"),
        (with_committed_file_above, "page.md/new.md", "page.md is a file"),
    ],
)
async def test_a_path_that_git_cannot_take_without_a_loss_is_rejected_before_it_is_written(
    root: Path, prepare: Callable[[Path], None], path: str, words: str
) -> None:
    prepare(root)
    before = state(root)
    told = await WorkspaceActor().unwritable(str(root), [path, "run.sh"])
    assert path in told
    assert "run.sh" not in told
    assert re.search(words, told[path])
    with pytest.raises(PathRejected, match=words) as caught:
        await publish(root, path, "text\n")
    assert caught.value.path == path
    assert caught.value.remedy
    assert state(root) == before


def merging(root: Path) -> None:
    git(root, "checkout", "-q", "-b", "other")
    (root / "page.md").write_text("theirs\n")
    git(root, "commit", "-q", "-a", "-m", "theirs")
    git(root, "checkout", "-q", "main")
    (root / "page.md").write_text("ours\n")
    git(root, "commit", "-q", "-a", "-m", "ours")


@pytest.mark.parametrize(
    "operation",
    [
        ("merge", "other"),
        ("rebase", "other"),
        ("cherry-pick", "other"),
        ("revert", "HEAD~1"),
        ("bisect", "start"),
    ],
)
async def test_an_operation_in_progress_is_not_committed_into(
    root: Path, operation: tuple[str, str]
) -> None:
    merging(root)
    if operation[0] == "revert":
        git(root, "commit", "-q", "--allow-empty", "-m", "more")
        (root / "page.md").write_text("later\n")
        git(root, "commit", "-q", "-a", "-m", "later")
        git(root, "revert", "HEAD~2", code=1)
    else:
        git(root, *operation, code=0 if operation[0] == "bisect" else 1)
    before = state(root)
    with pytest.raises(WorkspaceError, match="in progress") as caught:
        await WorkspaceActor().unwritable(str(root), [])
    assert "git status" in caught.value.remedy
    with pytest.raises(WorkspaceError, match="in progress"):
        await publish(root, "new.md", "text\n")
    assert state(root) == before


async def test_a_repository_with_its_files_elsewhere_is_rejected(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    git(root, "config", "core.worktree", str(tmp_path / "elsewhere"))
    with pytest.raises(WorkspaceError, match="elsewhere"):
        await WorkspaceActor().unwritable(str(root), [])
    git(root, "config", "--unset", "core.worktree")
    git(root, "config", "core.bare", "true")
    with pytest.raises(WorkspaceError, match="work tree"):
        await WorkspaceActor().unwritable(str(root), [])


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
async def test_a_lock_that_another_git_holds_is_told_before_a_model_is_asked(
    root: Path, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setattr("actors.workspace.git.INDEX_PATIENCE_S", 0.1)
    (root / ".git" / lock).touch()
    before = state(root)
    with pytest.raises(WorkspaceError, match=lock) as caught:
        await WorkspaceActor().unwritable(str(root), ["new.md"])
    assert "remove the file" in caught.value.remedy
    assert state(root) == before


async def test_a_repository_with_an_unknown_extension_is_rejected_by_its_name(root: Path) -> None:
    git(root, "config", "core.repositoryFormatVersion", "1")
    git(root, "config", "extensions.refStorage", "future")
    with pytest.raises(WorkspaceError, match="extension found: refstorage"):
        await WorkspaceActor().unwritable(str(root), ["new.md"])


async def test_a_bare_repository_is_rejected(root: Path, tmp_path: Path) -> None:
    git(root, "clone", "-q", "--bare", str(root), str(tmp_path / "bare.git"))
    with pytest.raises(WorkspaceError, match="bare"):
        await WorkspaceActor().unwritable(str(tmp_path / "bare.git"), ["new.md"])


async def test_one_rejected_path_does_not_hold_up_the_others(root: Path) -> None:
    with_filter(root)
    done = await asyncio.gather(
        *(publish(root, path, "text\n") for path in ("a.txt", "b.md", "c.txt")),
        return_exceptions=True,
    )
    assert [isinstance(one, WorkspaceError) for one in done] == [False, True, False]
