"""Nothing that a repository's configuration names is run by the workspace's git commands."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from actors.workspace.git import FileCommit, Repository
from actors.workspace.git_process import GitProcess
from familiar.call import CallKey
from familiar.errors import WorkspaceError

IDENTITY = ["-c", "user.name=User", "-c", "user.email=user@example.org"]


def git(root: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", *IDENTITY, *args], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A user's repository with two commits, and files on which drivers act."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / "old.txt").write_text("old\n")
    (root / "folder").mkdir()
    (root / "folder" / "kept.txt").write_text("kept\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    return root


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a mark when it is run."""
    program = tmp_path / "trap"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\nexit 1\n")
    program.chmod(0o755)
    return program


async def use(root: Path) -> None:
    """All that the workspace does with a repository: make, write, repeat, find, convert."""
    made = Repository(root)
    await made.unwritable([])
    for name, text in (("new.txt", "text\n"), ("old.txt", "newer\r\n$Id: x $\r\n")):
        (root / name).write_bytes(text.encode())
        change = FileCommit(CallKey("run", name, 1), name, text.encode())
        commit = await made.publish(change)
        assert await Repository(root).publish(change) == commit
        assert await made.find(change.key) == commit


SETTINGS = {
    # setting: why it cannot run anything
    "core.hooksPath": "set to /dev/null by us",
    "core.fsmonitor": "set to false by us",
    "core.alternateRefsCommand": "set by us, and used by fetch and receive-pack alone",
    "core.sshCommand": "no protocol is allowed",
    "core.gitProxy": "no protocol is allowed",
    "core.askPass": "no protocol is allowed, so nobody is asked",
    "credential.helper": "no protocol is allowed, so nothing needs a credential",
    "remote.origin.uploadpack": "no protocol is allowed and nothing is fetched",
    "remote.origin.receivepack": "nothing is pushed",
    "remote.origin.vcs": "no remote helper is started without a protocol",
    "uploadpack.packObjectsHook": "nothing is served, and git ignores it in a repository",
    "core.pager": "no command of ours pages, and its output is a pipe",
    "pager.rev-list": "no command of ours pages, and its output is a pipe",
    "core.editor": "no command of ours edits",
    "sequence.editor": "nothing is rebased",
    "diff.external": "nothing is compared",
    "diff.trap.command": "nothing is compared",
    "diff.trap.textconv": "nothing is shown, and cat-file is asked for no text",
    "merge.trap.driver": "nothing is merged",
    "mergetool.trap.cmd": "nothing is merged",
    "gpg.program": "fast-import and rev-list neither sign nor verify",
    "gpg.ssh.program": "fast-import and rev-list neither sign nor verify",
    "gpg.ssh.defaultKeyCommand": "nothing is signed",
    "trailer.trap.command": "trailers are written as text",
    "alias.rev-list": "git's own commands cannot be aliased",
    "alias.fast-import": "git's own commands cannot be aliased",
    "browser.trap.cmd": "no help is shown",
    "sendemail.smtpServer": "nothing is sent",
    "tar.trap.command": "nothing is archived",
    "submodule.folder.update": "no submodule is updated",
    "remote.origin.url": "no remote is asked",
    "url.trap.insteadOf": "no remote is asked",
    "protocol.ext.allow": "no protocol is allowed, whatever each one says",
    "fetch.bundleURI": "nothing is fetched",
    "receive.procReceiveRefs": "nothing is received",
    "core.attributesFile": "a file of attributes runs nothing: filters are off",
    "core.untrackedCache": "the work tree is not looked at",
    "maintenance.commit-graph.schedule": "maintenance is off",
    "trace2.eventTarget": "git reads it in the user's and the system's files alone",
    "trace2.normalTarget": "git reads it in the user's and the system's files alone",
    "difftool.trap.cmd": "nothing is compared",
    "interactive.diffFilter": "nothing is interactive",
    "format.signatureFile": "no patch is made",
    "imap.tunnel": "nothing is sent",
    "web.browser": "no help is shown",
    "instaweb.httpd": "nothing is served",
    "filter.trap.clean": "filters get empty commands",
}


def plant(root: Path, setting: str, trap: Path) -> None:
    """The setting, with all that makes git use it."""
    value = f"!{trap}" if setting.startswith(("alias", "submodule", "credential")) else str(trap)
    if setting == "core.hooksPath":
        hooks = root.parent / "hooks"
        hooks.mkdir(exist_ok=True)
        for name in ("reference-transaction", "post-index-change", "pre-commit", "post-commit"):
            (hooks / name).write_bytes(trap.read_bytes())
            (hooks / name).chmod(0o755)
        value = str(hooks)
    git(root, "config", setting, value)
    for name, other in {
        "commit.gpgSign": "true",
        "log.showSignature": "true",
        "gpg.format": "ssh" if "ssh" in setting else "openpgp",
        "merge.default": "trap",
        "log.diffMerges": "on",
        "tag.gpgSign": "true",
        "gc.auto": "1",
        "maintenance.auto": "true",
    }.items():
        git(root, "config", name, other)
    if setting.startswith(("diff", "merge.")):
        kind = setting.partition(".")[0]
        (root / ".git/info/attributes").write_text(f"*.txt {kind}=trap\n")


@pytest.mark.parametrize("setting", SETTINGS)
async def test_no_setting_makes_our_git_run_a_program(
    repository: Path, trap: Path, setting: str
) -> None:
    plant(repository, setting, trap)
    await use(repository)
    assert not (trap.parent / "ran").exists(), SETTINGS[setting]


@pytest.mark.parametrize("kind", ["include.path", "includeIf.gitdir:/**.path"])
async def test_a_file_that_the_configuration_includes_is_off_too(
    repository: Path, trap: Path, kind: str
) -> None:
    more = repository.parent / "more"
    more.write_text(f"[core]\nfsmonitor = {trap}\nhooksPath = {trap.parent / 'hooks'}\n")
    plant(repository, "core.hooksPath", trap)
    git(repository, "config", "--unset", "core.hooksPath")
    git(repository, "config", kind, str(more))
    await use(repository)
    assert not (trap.parent / "ran").exists()


@pytest.mark.parametrize("kind", ["clean", "smudge", "process"])
async def test_no_filter_runs(repository: Path, trap: Path, kind: str) -> None:
    (repository / ".git/info/attributes").write_text("*.txt filter=trap\n")
    git(repository, "config", f"filter.trap.{kind}", str(trap))
    git(repository, "config", "filter.trap.required", "true")
    made = Repository(repository)
    await made.unwritable([])
    with contextlib.suppress(WorkspaceError):
        await made.publish(FileCommit(CallKey("run", "a", 1), "old.txt", b"newer\r\n"))
    # Writing the index compares what is as new as the index itself, `old.txt` here.
    await made.publish(FileCommit(CallKey("run", "b", 1), "folder/other.md", b"text"))
    assert not (trap.parent / "ran").exists()


@pytest.mark.parametrize("url", ["file", "path", "ext", "ssh", "https"])
async def test_a_missing_object_is_not_fetched(repository: Path, trap: Path, url: str) -> None:
    """A promisor remote: git would start its upload-pack for each object that is not there."""
    tree = git(repository, "rev-parse", "HEAD:folder")
    (repository / ".git/objects" / tree[:2] / tree[2:]).unlink()
    urls = {
        "file": f"file://{repository}",
        "path": str(repository),
        "ext": f"ext::{trap} %S",
        "ssh": "ssh://localhost/x",
        "https": "https://localhost:1/x",
    }
    for name, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": urls[url],
        "remote.origin.uploadpack": f"{trap};false",
        "core.sshCommand": str(trap),
        "credential.helper": f"!{trap}",
        "protocol.allow": "always",
        "protocol.ext.allow": "always",
    }.items():
        git(repository, "config", name, value)
    made = Repository(repository)
    await made.unwritable([])
    await made.find(CallKey("run", "a", 1))
    with pytest.raises(WorkspaceError):
        await made.publish(FileCommit(CallKey("run", "a", 1), "folder/new.txt", b"text"))
    assert not (trap.parent / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("given", [".", ".git"])
async def test_a_repository_of_another_user_is_rejected_when_it_is_opened(
    repository: Path, given: str
) -> None:
    os.chown(repository / given, 65534, 65534)
    with pytest.raises(WorkspaceError, match="another user") as caught:
        await Repository(repository).unwritable([])
    assert "chown" in caught.value.remedy
    with pytest.raises(WorkspaceError, match="another user"):
        await Repository(repository).publish(FileCommit(CallKey("r", "c", 1), "old.txt", b"x"))


async def test_no_daemon_watches_the_files(repository: Path) -> None:
    git(repository, "config", "core.fsmonitor", "true")
    await use(repository)
    assert not (repository / ".git/fsmonitor--daemon").exists()
    assert not list((repository / ".git").glob("fsmonitor--daemon*"))


async def test_a_replaced_object_is_not_taken_for_the_real_one(repository: Path) -> None:
    (repository / "secret.txt").write_text("secret\n")
    git(repository, "add", ".")
    other = git(repository, "write-tree")
    git(repository, "rm", "-q", "-f", "--cached", "secret.txt")
    (repository / "secret.txt").unlink()
    git(repository, "replace", git(repository, "rev-parse", "HEAD^{tree}"), other)
    change = FileCommit(CallKey("run", "a", 1), "new.txt", b"text")
    commit = await Repository(repository).publish(change)
    tree = git(repository, "--no-replace-objects", "ls-tree", "--name-only", commit)
    assert tree.split() == ["folder", "new.txt", "old.txt"]


async def test_objects_of_another_repository_are_read_and_not_written(
    repository: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    git(tmp_path, "clone", "-q", "--shared", str(repository), str(shared))
    before = git(repository, "count-objects", "-v")
    change = FileCommit(CallKey("run", "a", 1), "folder/new.txt", b"text")
    await Repository(shared).publish(change)
    assert git(shared, "ls-tree", "--name-only", "HEAD:folder").split() == ["kept.txt", "new.txt"]
    assert git(repository, "count-objects", "-v") == before


async def test_a_command_that_is_not_known_to_be_harmless_is_not_run(repository: Path) -> None:
    with pytest.raises(ValueError, match="git commit"):
        await GitProcess(repository).attempt("commit", "-m", "x")
