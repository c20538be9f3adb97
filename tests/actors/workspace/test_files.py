"""Nothing that a model or a person names can reach outside the workspace, and no write is half."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.workspace.files import Workspace
from familiar.errors import WorkspaceError
from familiar.path import path_problem


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "ws"
    root.mkdir()
    return Workspace(root)


@pytest.mark.parametrize(
    "path",
    [
        "../outside",
        "a/../../outside",
        "a/..",
        "/etc/passwd",
        "",
        ".",
        "a//b",
        "a/",
        "a/./b",
        "nul\0byte",
        "line\nfeed",
        "bell\x07",
        "\x85next",
        "lone\ud800surrogate",
        ".git/config",
        "sub/.git/hooks/post-commit",
        ".GIT/config",
        ".git. /config",
        "git~1/config",
        "back\\slash",
        "a" * 256,
        "a/" * 600 + "b",
    ],
)
def test_a_path_that_is_not_a_plain_file_below_the_root_is_rejected(
    workspace: Workspace, path: str
) -> None:
    for act in (
        lambda: workspace.write(path, b"x"),
        lambda: workspace.read(path),
        lambda: workspace.sha256(path),
        lambda: workspace.remove(path),
        lambda: workspace.rename(path, "fine"),
        lambda: workspace.rename("fine", path),
    ):
        with pytest.raises(WorkspaceError) as caught:
            act()
        assert caught.value.path == path
    assert list(workspace.root.iterdir()) == []
    assert list(workspace.root.parent.iterdir()) == [workspace.root]


@pytest.mark.parametrize("path", ["index.html", "a/b/c.txt", ".gitignore", "naïve/日本.md", "a b"])
def test_a_plain_path_is_accepted(workspace: Workspace, path: str) -> None:
    assert path_problem(path) is None
    workspace.write(path, b"text")
    assert workspace.read(path) == b"text"
    assert workspace.sha256(path) == hashlib.sha256(b"text").hexdigest()


@given(st.text(max_size=40))
def test_whatever_is_accepted_stays_below_the_root(path: str) -> None:
    if path_problem(path) is None:
        joined = os.path.normpath(os.path.join("/srv/ws", path))
        assert joined.startswith("/srv/ws/")
        assert "/.git/" not in f"{joined.lower()}/"


def test_a_symbolic_link_on_the_way_is_rejected_even_when_it_stays_inside(
    workspace: Workspace, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (workspace.root / "real").mkdir()
    (workspace.root / "out").symlink_to(outside)
    (workspace.root / "in").symlink_to("real")
    (workspace.root / "file").symlink_to(outside / "secret")
    (workspace.root / "dangling").symlink_to(outside / "new")
    workspace.write("fine", b"x")
    for path in ("out/secret", "out/new", "in/new", "file", "dangling", "out/deep/new"):
        for act in (
            lambda p=path: workspace.write(p, b"x"),
            lambda p=path: workspace.rename("fine", p),
        ):
            with pytest.raises(WorkspaceError, match="link"):
                act()
    with pytest.raises(WorkspaceError, match="link"):
        workspace.read("file")
    assert (outside / "secret").read_text() == "secret"
    assert sorted(p.name for p in outside.iterdir()) == ["secret"]


def test_the_root_itself_may_be_reached_over_the_users_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    Workspace(tmp_path / "link").write("a.txt", b"x")
    assert (tmp_path / "real" / "a.txt").read_bytes() == b"x"


def test_folders_and_special_files_are_rejected(workspace: Workspace) -> None:
    (workspace.root / "folder").mkdir()
    os.mkfifo(workspace.root / "fifo")
    workspace.write("fine", b"x")
    for path in ("folder", "fifo"):
        with pytest.raises(WorkspaceError):
            workspace.write(path, b"x")
        with pytest.raises(WorkspaceError):
            workspace.read(path)
        with pytest.raises(WorkspaceError):
            workspace.rename("fine", path)
    with pytest.raises(WorkspaceError, match="file or a symbolic link"):
        workspace.write("fine/below", b"x")


def test_a_failed_write_leaves_the_old_file_and_no_litter(workspace: Workspace) -> None:
    workspace.write("a.txt", b"old")
    (workspace.root / "b").mkdir()
    with pytest.raises(WorkspaceError):
        workspace.write("b", b"new")
    assert sorted(p.name for p in workspace.root.iterdir()) == [".familiar", "a.txt", "b"]
    assert list((workspace.root / ".familiar").iterdir()) == []
    assert list((workspace.root / "b").iterdir()) == []
    assert workspace.read("a.txt") == b"old"


def test_too_large_missing_and_gone_are_said_in_words(workspace: Workspace, tmp_path: Path) -> None:
    workspace.write("a.txt", b"12345")
    with pytest.raises(WorkspaceError, match="5 bytes"):
        workspace.read("a.txt", max_bytes=4)
    with pytest.raises(WorkspaceError, match="no such file"):
        workspace.read("b.txt")
    assert workspace.sha256("b.txt") is None
    workspace.remove("b.txt")
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        Workspace(tmp_path / "nowhere").write("a", b"")


def test_a_full_disk_is_named_and_the_old_file_stays(small_disk: Path) -> None:
    workspace = Workspace(small_disk)
    workspace.write("a.txt", b"old")
    with pytest.raises(WorkspaceError, match=r"disk .* is full") as caught:
        workspace.write("a.txt", b"x" * 1_000_000)
    assert "Free some space" in str(caught.value)
    assert workspace.read("a.txt") == b"old"
    assert sorted(p.name for p in small_disk.rglob("*")) == [".familiar", "a.txt"]
