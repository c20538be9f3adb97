"""The workspace's history: one commit for one published file, with run, call and attempt in it.

A commit holds exactly one path. It is built by `git fast-import` on top of HEAD, which touches
neither the user's files nor what they have staged; afterwards the index learns of this one path, so
that `git status` stays clean. Commits that are asked for at the same time go through one git
process together, in order. Repeating a publication finds the commit by its trailers and makes no
second one. Only one process at a time commits to a workspace (a lock file in the git folder); when
the user commits in between, git notices and the commit is built again on the new HEAD.

The user's configuration, hooks and signing have no part in it (`actors.workspace.git_process`), and
the author is familiar.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.workspace.files import PRIVATE
from actors.workspace.git_paths import EXECUTABLE, PLAIN, Standing, inspect, raise_if_busy, renewed
from actors.workspace.git_process import GitProcess, first_line
from actors.workspace.grouped import Grouped
from familiar.call import CallKey
from familiar.errors import WorkspaceError
from familiar.path import path_problem

_IDENTITY = "familiar <familiar@localhost>"
_LOCK_PATIENCE_S = 60.0
_GROUP = 64
_TRIES = 8


@dataclass(frozen=True, slots=True)
class FileCommit:
    """One file on its way into history. `data` are the bytes that stand at `path`."""

    key: CallKey
    path: str
    data: bytes
    alias: str = ""

    def trailers(self) -> dict[str, str]:
        named = {
            "Familiar-Run": self.key.run_id,
            "Familiar-Call": self.key.call_id,
            "Familiar-Attempt": str(self.key.attempt),
            "Familiar-Alias": self.alias,
        }
        return {name: " ".join(value.split()) for name, value in named.items() if value}

    def message(self) -> str:
        lines = "\n".join(f"{name}: {value}" for name, value in self.trailers().items())
        return f"Write {self.path}\n\n{lines}\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as git stores it. `data` are None when the object `blob` is stored already."""

    mode: str
    data: bytes | None
    blob: str = ""

    def name(self, like: str) -> str:
        """The blob's hash, of the kind that the hash `like` is."""
        return self.blob if self.data is None else _blob_hash(self.data, like)


class Repository:
    """The git repository whose top is the workspace's root."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._git = GitProcess(self.root)
        self._commits = Grouped(self._commit_locked, _GROUP)
        self._checks = Grouped(self._check_group, _GROUP)
        self._git_folder: Path | None = None
        self._checked: dict[str, Standing] = {}
        self._trusts_modes: bool | None = None

    async def create(self) -> None:
        """Make the repository unless there is one, and keep the private folder out of it. An
        existing repository is taken as it is: nothing in it is cleaned, staged or switched.

        Raises WorkspaceError, also for a repository of another user and while the user merges."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"The workspace {self.root} cannot be made: {error.strerror}."
            ) from error
        if not (self.root / ".git").exists():
            await self._init()
        top = os.fsdecode(await self._git.run("rev-parse", "--show-toplevel")).rstrip("\n")
        if not _is_same_folder(Path(top), self.root):
            raise WorkspaceError(
                f"The repository at {self.root} keeps its files in {top}.",
                remedy=f"Unset core.worktree there, or use {top} as the workspace.",
            )
        raise_if_busy(self.root, await self._folder())
        named = await self._git.run("rev-parse", "--git-path", "info/exclude")
        exclude = self.root / os.fsdecode(named).strip()
        line = f"/{PRIVATE}/"
        try:
            known = exclude.read_text(encoding="utf-8") if exclude.exists() else ""
            if line not in known.splitlines():
                exclude.parent.mkdir(parents=True, exist_ok=True)
                with exclude.open("a", encoding="utf-8") as file:
                    file.write(f"{'' if not known or known.endswith(chr(10)) else chr(10)}{line}\n")
        except OSError as error:
            raise WorkspaceError(
                f"{exclude} cannot be written: {error.strerror}.", path=str(exclude)
            ) from error

    async def _init(self) -> None:
        """A new repository appears whole or not at all, also when this process dies over it."""
        made = self.root / PRIVATE / f"new-{os.urandom(4).hex()}"
        await self._git.run("init", "--quiet", "--template=", "--initial-branch=main", str(made))
        # It fails where there is a repository by now, and that one is taken as it is.
        with contextlib.suppress(OSError):
            (made / ".git").rename(self.root / ".git")
        await asyncio.to_thread(shutil.rmtree, made, ignore_errors=True)

    async def commit(self, change: FileCommit) -> str:
        """Commit one file and return the commit's hash. Safe to repeat. Raises WorkspaceError."""
        problem = path_problem(change.path)
        if problem is not None:
            raise WorkspaceError(f"{change.path!r} cannot be committed: {problem}.")
        return await self._commits.ask(change)

    async def check(self, path: str) -> bool:
        """Whether git has an executable file at `path`. Raises WorkspaceError when a file that is
        written there could not be committed without a loss; nothing is changed."""
        problem = path_problem(path)
        if problem is not None:
            raise WorkspaceError(f"{path!r} cannot be committed: {problem}.", path=path)
        return await self._checks.ask(path)

    async def find(self, key: CallKey) -> str | None:
        """The newest commit of HEAD's history that carries this try's trailers."""
        wanted = FileCommit(key, "-", b"").trailers()
        patterns = [f"--grep=^{name}: {re.escape(value)}$" for name, value in wanted.items()]
        code, out, _ = await self._git.attempt(
            "rev-list", "-n1", "-E", "--all-match", *patterns, "HEAD"
        )
        return out.decode().strip() or None if code == 0 else None

    # -- one group of commits --------------------------------------------------------------------

    async def _check_group(self, paths: list[str]) -> list[bool | Exception]:
        raise_if_busy(self.root, await self._folder())
        found = await inspect(self._git, paths)
        return [found[path].reject(self.root) or found[path].mode == EXECUTABLE for path in paths]

    async def _commit_locked(self, group: list[FileCommit]) -> list[str | Exception]:
        async with self._locked():
            raise_if_busy(self.root, await self._folder())
            paths = [change.path for change in group]
            known = [self._checked.pop(path, None) for path in dict.fromkeys(paths)]
            fresh = [standing for standing in known if standing is not None]
            if len(fresh) == len(known):  # each was checked a moment ago, before it was written
                found = await renewed(self._git, fresh)
            else:
                found = await inspect(self._git, paths)
            errors = [found[change.path].reject(self.root) for change in group]
            sound = [change for change, error in zip(group, errors, strict=True) if error is None]
            hashes = iter(await self._commit_group(sound, found) if sound else [])
            return [error or next(hashes) for error in errors]

    async def _commit_group(
        self, group: list[FileCommit], found: Mapping[str, Standing]
    ) -> list[str]:
        problem = ""
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(0.05 * attempt)
                found = await inspect(self._git, [change.path for change in group])
            ref, parent = await self._head()
            entries = [await self._entry(change, found[change.path], parent) for change in group]
            commits: list[str | None] = [None] * len(group)
            for index, (change, entry) in enumerate(zip(group, entries, strict=True)):
                if parent and found[change.path].blob == entry.name(parent):
                    commits[index] = await self.find(change.key)
            new = [index for index, commit in enumerate(commits) if commit is None]
            if new:
                wanted = [(group[index], entries[index]) for index in new]
                script = _import_script(ref, parent, wanted)
                code, out, err = await self._git.attempt(
                    "fast-import", "--quiet", "--done", stdin=script
                )
                made = out.decode().split()
                if code != 0 or len(made) != len(new):
                    problem = first_line(err)
                    continue
                for index, commit in zip(new, made, strict=True):
                    commits[index] = commit
            done = [commit for commit in commits if commit is not None]
            await self._tell_index(
                {change.path: entry for change, entry in zip(group, entries, strict=True)}, done[0]
            )
            return done
        raise WorkspaceError(
            f"git could not commit {group[0].path} in {self.root}: {problem}.",
            path=group[0].path,
            remedy="See whether another git process is at work there.",
        )

    async def _entry(self, change: FileCommit, standing: Standing, parent: str) -> Entry:
        """The file as git stores it: with the mode of the disk where git goes by it, and with its
        line ends and keywords as the attributes want them."""
        mode = standing.mode
        if await self._goes_by_modes():
            with contextlib.suppress(OSError):
                bits = (self.root / change.path).lstat().st_mode
                mode = EXECUTABLE if bits & 0o100 else PLAIN
        if b"\r\n" not in change.data and b"$Id:" not in change.data:
            return Entry(mode, change.data)
        arguments = ("hash-object", "-w", "--stdin", "--path", change.path)
        stored = await self._git.run(*arguments, stdin=change.data)
        return Entry(mode, None, stored.decode().strip())

    async def _goes_by_modes(self) -> bool:
        if self._trusts_modes is None:
            _, out, _ = await self._git.attempt("config", "--type=bool", "core.fileMode")
            self._trusts_modes = out.strip() != b"false"
        return self._trusts_modes

    async def _head(self) -> tuple[str, str]:
        """The branch (or "HEAD" when detached) and its commit ("" before the first one)."""
        (code, name, _), (_, commit, _) = await asyncio.gather(
            self._git.attempt("symbolic-ref", "-q", "HEAD"),
            self._git.attempt("rev-parse", "-q", "--verify", "HEAD^{commit}"),
        )
        return (name.decode().strip() if code == 0 else "HEAD"), commit.decode().strip()

    async def _tell_index(self, files: Mapping[str, Entry], commit: str) -> None:
        """Make the index say what HEAD now says about these paths, and nothing else."""
        lines = [f"{entry.mode} {entry.name(commit)}\t{path}\0" for path, entry in files.items()]
        problem = ""
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(0.05 * 2**attempt)
            code, _, err = await self._git.attempt(
                "update-index", "--add", "-z", "--index-info", stdin="".join(lines).encode()
            )
            if code == 0:
                return
            problem = first_line(err)
        raise WorkspaceError(
            f"git's index in {self.root} cannot be updated: {problem}.",
            remedy="See whether another git process is at work there.",
        )

    # -- git and its lock ------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        path = await self._folder() / "familiar.lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be opened: {error.strerror}.") from error
        try:
            deadline = time.monotonic() + _LOCK_PATIENCE_S
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise WorkspaceError(
                            f"Another process has held {path} for {_LOCK_PATIENCE_S:.0f} s."
                        ) from None
                    await asyncio.sleep(0.01)
            yield
        finally:
            os.close(fd)

    async def _folder(self) -> Path:
        if self._git_folder is None:
            if (self.root / ".git").is_dir():
                self._git_folder = self.root / ".git"
            else:  # a worktree or a submodule: .git is a file that names the folder
                out = await self._git.run("rev-parse", "--absolute-git-dir")
                self._git_folder = Path(os.fsdecode(out).strip())
        return self._git_folder


def _is_same_folder(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _blob_hash(data: bytes, like: str) -> str:
    """Git's name for this content, in the kind of hash that `like` is."""
    kind = hashlib.sha256 if len(like) == 64 else hashlib.sha1
    return kind(b"blob %d\0" % len(data) + data).hexdigest()


def _import_script(ref: str, parent: str, group: list[tuple[FileCommit, Entry]]) -> bytes:
    """Commits in a row for `git fast-import`; it prints their hashes in this order."""
    when = f"{int(time.time())} +0000"
    parts: list[bytes] = []
    for mark, (change, entry) in enumerate(group, start=1):
        message = change.message().encode("utf-8", "replace")
        path = change.path.replace("\\", "\\\\").replace('"', '\\"')
        parts.append(f"commit {ref}\nmark :{mark}\n".encode())
        parts.append(f"author {_IDENTITY} {when}\ncommitter {_IDENTITY} {when}\n".encode())
        parts.append(b"data %d\n%s\n" % (len(message), message))
        if mark == 1 and parent:
            parts.append(f"from {parent}\n".encode())
        place = "inline" if entry.data is not None else entry.blob
        parts.append(f'M {entry.mode} {place} "{path}"\n'.encode())
        if entry.data is not None:
            parts.append(b"data %d\n%s\n\n" % (len(entry.data), entry.data))
        parts.append(b"get-mark :%d\n" % mark)
    return b"".join([*parts, b"done\n"])
