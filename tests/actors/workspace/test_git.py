"""A publication is one commit of one path, made once, and the user's own work is left alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from actors.workspace.git import FileCommit, Repository
from familiar.call import CallKey
from familiar.errors import WorkspaceError


def git(root: Path, *args: str) -> str:
    """Git as the user has it, with an identity of its own."""
    identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"]
    done = subprocess.run(
        ["git", *identity, *args], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout.rstrip("\n")


def change(root: Path, path: str, text: str, call: str = "page-1", attempt: int = 1) -> FileCommit:
    """A file that stands in the workspace already, as it does when it is committed."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    return FileCommit(CallKey("run-1", call, attempt), path, text.encode(), "grandpa")


async def test_a_new_workspace_gets_a_repository_and_commits_with_trailers(tmp_path: Path) -> None:
    root = tmp_path / "made" / "ws"
    repository = Repository(root)
    await repository.unwritable([])
    await repository.unwritable([])
    commit = await repository.publish(change(root, "pages/index.html", "<p>hi</p>\n"))
    assert git(root, "rev-parse", "HEAD") == commit
    assert git(root, "show", "HEAD:pages/index.html") == "<p>hi</p>"
    assert git(root, "log", "-1", "--format=%an <%ae>") == "familiar <familiar@localhost>"
    assert git(root, "log", "-1", "--format=%(trailers)").splitlines()[:3] == [
        "Familiar-Run: run-1",
        "Familiar-Call: page-1",
        "Familiar-Attempt: 1",
    ]
    assert list((root / ".familiar").iterdir()) == []
    (root / ".familiar" / "x.part").write_text("partial")
    assert git(root, "status", "--porcelain") == ""
    exclude = (root / ".git/info/exclude").read_text().splitlines()
    assert exclude.count("/.familiar/") == 1


DIES_IN_INIT = """#!/bin/sh
for word; do
    if [ "$word" = init ] && [ ! -e "$MARKER" ]; then
        touch "$MARKER"
        for last; do :; done
        case "$last" in -*) last=. ;; esac
        mkdir -p "$last/.git"
        exit 1
    fi
done
exec REAL "$@"
"""


async def test_a_repository_that_was_not_finished_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(DIES_IN_INIT.replace("REAL", shutil.which("git") or "git"))
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("MARKER", str(tmp_path / "marker"))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    root = tmp_path / "ws"
    with pytest.raises(WorkspaceError, match="git init failed"):
        await Repository(root).unwritable([])
    assert (tmp_path / "marker").exists()
    await Repository(root).unwritable([])
    commit = await Repository(root).publish(change(root, "a.txt", "one"))
    assert git(root, "rev-parse", "HEAD") == commit
    assert git(root, "status", "--porcelain") == ""


async def test_repeating_finds_the_commit_and_makes_no_second(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    await repository.unwritable([])
    first = change(tmp_path, "a.txt", "one")
    commit = await repository.publish(first)
    assert await repository.publish(first) == commit
    assert await Repository(tmp_path).publish(first) == commit  # another process, later
    await repository.publish(change(tmp_path, "b.txt", "two", "page-2"))
    assert await repository.publish(first) == commit
    assert git(tmp_path, "rev-list", "--count", "HEAD") == "2"
    assert await repository.find(CallKey("run-1", "page-1", 1)) == commit
    assert await repository.find(CallKey("run-1", "page-1", 11)) is None
    assert await repository.find(CallKey("run-1", "page.1", 1)) is None


async def test_the_same_content_by_another_call_is_a_commit_of_its_own(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    await repository.unwritable([])
    one = await repository.publish(change(tmp_path, "a.txt", "same", attempt=1))
    two = await repository.publish(change(tmp_path, "a.txt", "same", attempt=12))
    assert one != two
    assert await repository.publish(change(tmp_path, "a.txt", "same", attempt=12)) == two
    assert await repository.publish(change(tmp_path, "a.txt", "same", attempt=1)) == one


async def test_commits_at_the_same_time_are_one_path_each_and_in_order(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    await repository.unwritable([])
    changes = [change(tmp_path, f"d/{n}.txt", f"text {n}", f"page-{n}") for n in range(70)]
    commits = await asyncio.gather(*(repository.publish(c) for c in changes))
    assert len(set(commits)) == 70
    for commit, made in zip(commits, changes, strict=True):
        assert git(tmp_path, "show", "--format=", "--name-only", commit) == made.path
        assert f"Familiar-Call: {made.key.call_id}" in git(tmp_path, "log", "-1", commit)
    assert git(tmp_path, "status", "--porcelain") == ""
    assert git(tmp_path, "rev-list", "--reverse", "HEAD").splitlines() == commits


async def test_an_existing_repository_is_used_as_it_is(tmp_path: Path) -> None:
    """Dirty, staged, deleted, ignored and untracked files of the user, a hook that refuses, signing
    that cannot work: nothing of it is touched, swept in, or run."""
    git(tmp_path, "init", "-q", "-b", "trunk")
    for name in ("dirty", "staged", "deleted"):
        (tmp_path / name).write_text("committed\n")
    (tmp_path / ".gitignore").write_text("*.html\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "The user's own")
    (tmp_path / "dirty").write_text("changed\n")
    (tmp_path / "staged").write_text("staged\n")
    git(tmp_path, "add", "staged")
    (tmp_path / "deleted").unlink()
    (tmp_path / "untracked").write_text("new\n")
    before = git(tmp_path, "status", "--porcelain").splitlines()
    hook = tmp_path / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\ntouch hook-ran\nexit 1\n")
    hook.chmod(0o755)
    for name in ("post-commit", "reference-transaction", "post-index-change"):
        (tmp_path / ".git/hooks" / name).write_text(hook.read_text())
        (tmp_path / ".git/hooks" / name).chmod(0o755)
    git(tmp_path, "config", "commit.gpgSign", "true")
    git(tmp_path, "config", "gpg.program", "/bin/false")

    repository = Repository(tmp_path)
    await repository.unwritable([])
    commit = await repository.publish(change(tmp_path, "page.html", "<p>ours</p>"))
    assert not (tmp_path / "hook-ran").exists()
    (tmp_path / ".git/hooks/post-index-change").unlink()  # the user's own `git status` runs it
    assert git(tmp_path, "show", "--format=", "--name-status", commit) == "A\tpage.html"
    assert git(tmp_path, "status", "--porcelain").splitlines() == before
    assert git(tmp_path, "symbolic-ref", "HEAD") == "refs/heads/trunk"
    assert (tmp_path / "untracked").read_text() == "new\n"


async def test_a_commit_works_on_a_detached_head_in_a_worktree_and_on_top_of_the_users(
    tmp_path: Path,
) -> None:
    main = tmp_path / "main"
    main.mkdir()
    git(main, "init", "-q", "-b", "main")
    (main / "a").write_text("a")
    git(main, "add", "a")
    git(main, "commit", "-q", "-m", "first")
    tree = tmp_path / "tree"
    git(main, "worktree", "add", "-q", "--detach", str(tree))

    repository = Repository(tree)
    await repository.unwritable([])
    one = await repository.publish(change(tree, "b.txt", "b"))
    git(tree, "commit", "-q", "--allow-empty", "-m", "the user in between")
    two = await repository.publish(change(tree, "c.txt", "c", "page-2"))
    history = git(tree, "rev-list", "HEAD").splitlines()
    assert (history[0], history[2], len(history)) == (two, one, 4)
    assert git(tree, "status", "--porcelain") == ""
    assert git(main, "rev-parse", "main") == history[3]


async def test_a_workspace_below_another_repository_has_its_own(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    repository = Repository(tmp_path / "inner")
    await repository.unwritable([])
    await repository.publish(change(tmp_path / "inner", "a.txt", "a"))
    assert (tmp_path / "inner" / ".git").is_dir()
    with pytest.raises(subprocess.CalledProcessError):
        git(tmp_path, "rev-parse", "--verify", "-q", "HEAD")


@pytest.mark.parametrize("name", ['quo"te.txt', "back'tick`.txt", "sp ace.txt", "ünï/日本.txt"])
async def test_names_survive_git(tmp_path: Path, name: str) -> None:
    repository = Repository(tmp_path)
    await repository.unwritable([])
    await repository.publish(change(tmp_path, name, "text"))
    listed = git(tmp_path, "-c", "core.quotePath=false", "ls-tree", "-r", "-z", "HEAD")
    assert listed.rstrip("\0").split("\t")[1] == name
    assert git(tmp_path, "status", "--porcelain") == ""


@pytest.mark.parametrize("name", ["a b'\"", "line\u2028end", "next\u0085line", "new\nline", "a:b"])
async def test_a_workspace_may_have_any_name(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    repository = Repository(root)
    await repository.unwritable([])
    await repository.publish(change(root, "a.txt", "a"))
    assert git(root, "show", "HEAD:a.txt") == "a"
    assert git(root, "status", "--porcelain") == ""


async def test_two_processes_commit_to_one_workspace_without_losing_any(tmp_path: Path) -> None:
    await Repository(tmp_path).unwritable([])
    ours, theirs = Repository(tmp_path), Repository(tmp_path)  # each takes the lock on its own
    await asyncio.gather(
        *(ours.publish(change(tmp_path, f"o{n}", "x", f"o{n}")) for n in range(10)),
        *(theirs.publish(change(tmp_path, f"t{n}", "x", f"t{n}")) for n in range(10)),
    )
    assert len(git(tmp_path, "ls-tree", "--name-only", "HEAD").splitlines()) == 20
    assert git(tmp_path, "rev-list", "--count", "HEAD") == "20"
    assert git(tmp_path, "status", "--porcelain") == ""


async def test_a_held_index_is_waited_for_and_a_broken_repository_is_named(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    await repository.unwritable([])
    lock = tmp_path / ".git" / "index.lock"
    lock.touch()
    pending = asyncio.create_task(repository.publish(change(tmp_path, "a.txt", "a")))
    await asyncio.sleep(0.1)
    assert not pending.done()
    lock.unlink()
    assert await pending == git(tmp_path, "rev-parse", "HEAD")
    assert git(tmp_path, "status", "--porcelain") == ""

    (tmp_path / ".git" / "HEAD").unlink()
    with pytest.raises(WorkspaceError, match=str(tmp_path)):
        await Repository(tmp_path).publish(change(tmp_path, "b.txt", "b"))


async def test_a_path_that_leaves_is_rejected(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    await repository.unwritable([])
    with pytest.raises(WorkspaceError, match="leaves"):
        await repository.publish(FileCommit(CallKey("r", "c", 1), "../x", b""))
