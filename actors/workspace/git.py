"""The workspace's history: one commit for one published file, with run, call and attempt in it.

Publications that are asked for at the same time are done together, in order: the paths are checked,
the files written (temporary file, to disk, renamed), the commits made on top of HEAD, and the index
told of these paths alone, so that `git status` stays clean and the user's own work, staged or not,
is not touched. Repeating a publication finds its commit by the trailers and makes no second one.
Only one process at a time writes to a workspace (a lock file in the git folder); when the user
commits in between, git notices and the commits are built again on the new HEAD.

The user's configuration, hooks and signing have no part in it (`actors.workspace.git_process`), and
the author is familiar. A commit is as durable as one by `git commit`: objects are not forced to
disk one by one, and the file itself is.
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
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.crash import reached
from actors.workspace.files import PRIVATE, Workspace, workspace_error
from actors.workspace.git_objects import Head, Objects, TreeEntry, object_name
from actors.workspace.git_paths import (
    EXECUTABLE,
    PLAIN,
    Layout,
    Standing,
    converted,
    inspect,
    raise_if_busy,
)
from actors.workspace.git_process import GitProcess, first_line
from actors.workspace.grouped import Grouped
from familiar.call import CallKey
from familiar.errors import PathRejected, WorkspaceError
from familiar.path import path_problem

LOCK_PATIENCE_S = 60.0
INDEX_PATIENCE_S = 10.0
"""How long another git process may hold the index before that is an error."""

_GROUP = 64
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class FileCommit:
    """One file on its way into the workspace and its history. `repeated`: an earlier request may
    have been carried out, wholly or in part."""

    key: CallKey
    path: str
    data: bytes
    alias: str = ""
    repeated: bool = False

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


class Repository:
    """The git repository whose top is the workspace's root. `turns` bounds how many repositories
    are written at the same time."""

    def __init__(self, root: str | Path, turns: asyncio.Semaphore | None = None) -> None:
        self.root = Path(root)
        self._files = Workspace(self.root)
        self._git = GitProcess(self.root)
        self._turns = turns or asyncio.Semaphore()
        self._group = Grouped(self._publish_group, _GROUP, self._turn)
        self._layout: Layout | None = None

    async def unwritable(self, paths: Sequence[str]) -> dict[str, str]:
        """Make the repository unless there is one, and say of each of these paths that cannot be
        written and committed why not. An existing repository is taken as it is: nothing in it is
        cleaned, staged or switched.

        Raises WorkspaceError, also for a repository of another user and while the user merges."""
        layout = await self._open()
        raise_if_busy(self.root, layout.folder)
        await self._git_is_free(layout)
        problems = {path: path_problem(path) for path in paths}
        sound = [path for path, problem in problems.items() if problem is None]
        _, standings = await inspect(self._git, layout, dict.fromkeys(sound, ""))
        found = {path: str(_rejected(path, why)) for path, why in problems.items() if why}
        for path, standing in standings.items():
            if (error := standing.reject(self.root)) is not None:
                found[path] = str(error)
        return found

    async def publish(self, change: FileCommit) -> str:
        """Write and commit one file, and return the commit's hash. Safe to repeat.

        Raises WorkspaceError, and PathRejected when a person has to change something first."""
        problem = path_problem(change.path)
        if problem is not None:
            raise _rejected(change.path, problem)
        await self._open()
        return await self._group.ask(change)

    # -- the repository --------------------------------------------------------------------------

    async def _open(self) -> Layout:
        """Raises WorkspaceError."""
        if self._layout is None or not (self.root / ".git").exists():
            self._layout = await self._opened()
        return self._layout

    async def _opened(self) -> Layout:
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise WorkspaceError(
                f"The workspace {self.root} cannot be made: {error.strerror}."
            ) from error
        if not (self.root / ".git").exists():
            if (self.root / "HEAD").is_file() and (self.root / "objects").is_dir():
                raise WorkspaceError(
                    f"{self.root} is a bare git repository and holds no files.",
                    remedy="Use a clone of it as the workspace.",
                )
            await self._init()
        asked = ("--show-toplevel", "--absolute-git-dir", "--git-common-dir")
        said = [await self._git.run("rev-parse", one) for one in asked]
        # One at a time: a name may hold what looks like the end of a line.
        top, folder, common = (self.root / os.fsdecode(out.removesuffix(b"\n")) for out in said)
        if top.resolve() != self.root.resolve():
            raise WorkspaceError(
                f"The repository at {self.root} keeps its files in {top}.",
                remedy=f"Unset core.worktree there, or use {top} as the workspace.",
            )
        self._git.config_files = (common / "config", folder / "config.worktree")
        settings = await self._git.configuration()
        if "extensions.compatobjectformat" in settings:
            raise WorkspaceError(
                f"The repository at {self.root} keeps two kinds of hashes, which familiar cannot "
                "write.",
                remedy="Unset extensions.compatObjectFormat there.",
            )
        self._keep_out(common / "info" / "exclude")
        return Layout(folder, common, settings.get("extensions.objectformat", "sha1"))

    async def _init(self) -> None:
        """A new repository appears whole or not at all, also when this process dies over it."""
        made = self.root / PRIVATE / f"new-{os.urandom(4).hex()}"
        await self._git.run("init", "--quiet", "--template=", "--initial-branch=main", str(made))
        # It fails where there is a repository by now, and that one is taken as it is.
        with contextlib.suppress(OSError):
            (made / ".git").rename(self.root / ".git")
        await asyncio.to_thread(shutil.rmtree, made, ignore_errors=True)

    def _keep_out(self, exclude: Path) -> None:
        line = f"/{PRIVATE}/".encode()
        try:
            known = exclude.read_bytes() if exclude.exists() else b""
            if line not in known.splitlines():
                mode = self.root.stat().st_mode & 0o777
                exclude.parent.mkdir(mode=mode, exist_ok=True)
                fd = os.open(exclude, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode & 0o666)
                with os.fdopen(fd, "ab") as file:
                    start = b"" if not known or known.endswith(b"\n") else b"\n"
                    file.write(start + line + b"\n")
        except OSError as error:
            raise WorkspaceError(
                f"{exclude} cannot be written: {error.strerror}.", path=str(exclude)
            ) from error

    # -- one group of publications ---------------------------------------------------------------

    async def _publish_group(self, group: list[FileCommit]) -> list[str | Exception]:
        layout = await self._open()
        raise_if_busy(self.root, layout.folder)
        answers: list[str | Exception | None] = [
            await self._done_long_ago(change) for change in group
        ]
        left = [n for n, answer in enumerate(answers) if answer is None]
        head, standings = await self._inspect(layout, [group[n] for n in left])
        for n in left:
            answers[n] = standings[group[n].path].reject(self.root)
        sound = [group[n] for n in left if answers[n] is None]
        failed = await self._write(layout, sound, standings) if sound else {}
        reached("workspace/renamed")
        sound = [change for change in sound if change.path not in failed]
        commits = await self._commit(layout, sound, head, standings) if sound else []
        reached("workspace/committed")
        made = dict(zip([id(change) for change in sound], commits, strict=True))
        return [
            answer or failed.get(change.path) or made[id(change)]
            for change, answer in zip(group, answers, strict=True)
        ]

    async def _done_long_ago(self, change: FileCommit) -> str | None:
        """The commit of a repeated publication whose file has changed since."""
        if not change.repeated:
            return None
        there = await asyncio.to_thread(self._files.sha256, change.path)
        if there == hashlib.sha256(change.data).hexdigest():
            return None
        return await self.find(change.key)

    async def find(self, key: CallKey) -> str | None:
        """The newest commit of HEAD's history that carries this attempt's trailers."""
        wanted = FileCommit(key, "-", b"").trailers()
        patterns = [f"--grep=^{name}: {re.escape(value)}$" for name, value in wanted.items()]
        code, out, _ = await self._git.attempt(
            "rev-list", "-n1", "-E", "--all-match", *patterns, "HEAD", "--"
        )
        return out.decode().strip() or None if code == 0 else None

    async def _inspect(
        self, layout: Layout, group: list[FileCommit]
    ) -> tuple[Head, dict[str, Standing]]:
        named = {
            change.path: object_name("blob", change.data, layout.hash_name) for change in group
        }
        return await inspect(self._git, layout, named)

    async def _write(
        self, layout: Layout, group: list[FileCommit], standings: Mapping[str, Standing]
    ) -> dict[str, WorkspaceError]:
        """Write the files, of several texts for one path the last; the errors, by path. Each text
        is one of git's objects before it is a file, so a successor knows it for ours."""
        newest = {change.path: change for change in group}
        objects = Objects(layout.hash_name)
        for change in newest.values():
            objects.add("blob", change.data)
        await self._store(layout, objects, group[0].path)
        return await asyncio.to_thread(self._write_files, newest, standings)

    def _write_files(
        self, newest: Mapping[str, FileCommit], standings: Mapping[str, Standing]
    ) -> dict[str, WorkspaceError]:
        """One thread for all of them: many that write small files mostly wait for each other."""
        failed = {}
        for path, change in newest.items():
            executable = standings[path].mode == EXECUTABLE
            try:
                self._files.write(path, change.data, executable=executable)
            except WorkspaceError as error:
                failed[path] = error
        self._files.keep(newest.keys() - failed.keys())
        return failed

    async def _store(self, layout: Layout, objects: Objects, path: str) -> None:
        try:
            await asyncio.to_thread(objects.store, layout.common / "objects")
        except OSError as error:
            raise workspace_error(self.root, path, error) from error

    async def _commit(
        self,
        layout: Layout,
        group: list[FileCommit],
        head: Head,
        standings: Mapping[str, Standing],
    ) -> list[str]:
        problem = ""
        for round_ in range(_ROUNDS):
            if round_:
                await asyncio.sleep(0.05 * round_)
                head, standings = await self._inspect(layout, group)
            before = head.commit
            objects = Objects(layout.hash_name)
            entries = [
                await self._entry(change, standings[change.path], objects) for change in group
            ]
            commits: list[str] = []
            tip, when = before, int(time.time())
            for change, entry in zip(group, entries, strict=True):
                same = standings[change.path].blob == entry.name
                if same and (known := await self.find(change.key)) is not None:
                    commits.append(known)
                    continue
                tree = head.with_file(change.path, entry, objects)
                tip = objects.commit(tree, tip, change.message(), when)
                commits.append(tip)
            if tip != before:
                await self._store(layout, objects, group[0].path)
                old = before or "0" * len(tip)
                code, _, err = await self._git.attempt(
                    "update-ref", "-m", "familiar", "HEAD", tip, old
                )
                if code != 0:
                    problem = first_line(err)
                    continue
            await self._tell_index(dict(zip((c.path for c in group), entries, strict=True)))
            return commits
        raise WorkspaceError(
            f"git could not commit {group[0].path} in {self.root}: {problem}.",
            path=group[0].path,
            remedy="Check whether another git process works there.",
        )

    async def _entry(self, change: FileCommit, standing: Standing, objects: Objects) -> TreeEntry:
        """The file as git stores it: with the mode of the disk where git goes by it, and with its
        line ends and keywords as the attributes want them."""
        mode = standing.mode
        settings = await self._git.configuration()
        if settings.get("core.filemode", "true") != "false":
            with contextlib.suppress(OSError):
                bits = (self.root / change.path).lstat().st_mode
                mode = EXECUTABLE if bits & 0o100 else PLAIN
        if b"\r\n" in change.data or b"$Id:" in change.data:
            return TreeEntry(mode, await converted(self._git, change.path, change.data, store=True))
        return TreeEntry(mode, objects.add("blob", change.data))

    async def _tell_index(self, files: Mapping[str, TreeEntry]) -> None:
        """Make the index say what HEAD now says about these paths, and nothing else."""
        lines = "".join(f"{entry.mode} {entry.name}\t{path}\0" for path, entry in files.items())
        problem = ""
        for round_ in range(_ROUNDS):
            if round_:
                await asyncio.sleep(0.05 * 2**round_)
            code, _, err = await self._git.attempt(
                "update-index", "--add", "-z", "--index-info", stdin=lines.encode()
            )
            if code == 0:
                return
            problem = first_line(err)
        raise WorkspaceError(
            f"git's index in {self.root} cannot be updated: {problem}.",
            remedy="Check whether another git process works there.",
        )

    # -- locks -----------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """The lock of this repository among the processes of familiar, then a turn of this one."""
        layout = await self._open()
        path = layout.folder / "familiar.lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be opened: {error.strerror}.") from error
        try:
            deadline = time.monotonic() + LOCK_PATIENCE_S
            while not _locked(fd):
                if time.monotonic() > deadline:
                    raise WorkspaceError(
                        f"Another process has held {path} for {LOCK_PATIENCE_S:.0f} s."
                    )
                await asyncio.sleep(0.01)
            await self._git_is_free(layout)
            async with self._turns:
                yield
        finally:
            os.close(fd)

    async def _git_is_free(self, layout: Layout) -> None:
        """Wait while another git process writes the index or the branch. Raises WorkspaceError."""
        locks = layout.locks()
        deadline = time.monotonic() + INDEX_PATIENCE_S
        while (lock := next((lock for lock in locks if lock.exists()), None)) is not None:
            if time.monotonic() > deadline:
                raise WorkspaceError(
                    f"Another git process has held {lock} for {INDEX_PATIENCE_S:.0f} s.",
                    remedy="Let it finish; where no git runs, remove the file.",
                )
            await asyncio.sleep(0.05)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _rejected(path: str, problem: str) -> PathRejected:
    return PathRejected(
        f"{path!r} cannot be committed: {problem}.", path=path, remedy="Choose another path."
    )
