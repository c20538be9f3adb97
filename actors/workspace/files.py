"""The workspace's files: every path stays below the root, every write is whole or absent.

A path is checked twice: by its text (`familiar.path`, the rule that plans meet too) and by the
kernel while it is opened (`actors.workspace.openat`), which no symbolic link and no race can get
around. Text is written to a temporary file first and renamed when it is complete, so a reader
never sees half a file. All methods block: call them in a thread. Errors are `WorkspaceError`s that
name the path as it was given; a full disk leaves the old file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from actors.crash import reached
from actors.workspace.openat import open_beneath
from familiar.errors import WorkspaceError
from familiar.path import path_problem

PRIVATE = ".familiar"
"""The folder for temporary files; git is told to ignore it."""

_CHUNK = 1 << 20


class Workspace:
    """The files below `root`. Holds no descriptor between two calls."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    def write(self, path: str, data: bytes, *, executable: bool = False) -> None:
        """Write a whole file: to a temporary name in the private folder, to disk, renamed (`keep`
        forces the new name to disk). It gets the mode of the file that it replaces; a new one is
        as open as the workspace's own folder, and may be `executable`.

        The temporary name follows from path and content, so a repeat after a crash takes it up."""
        named = hashlib.sha256(path.encode("utf-8", "replace") + b"\0" + data).hexdigest()[:24]
        temporary = f"{PRIVATE}/{named}.part"
        try:
            with self._errors(path), self._beneath(path) as root:
                usual = stat.S_IMODE(os.fstat(root).st_mode) & 0o666
                self._make_parents(root, temporary, 0o700)
                fd = open_beneath(root, temporary, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, usual)
                try:
                    self._reject_special(fd, path)
                    os.ftruncate(fd, 0)
                    write_all(fd, data)
                    os.fchmod(fd, self._mode(root, path, fd, executable))
                    os.fsync(fd)
                finally:
                    os.close(fd)
            reached("workspace/written")
            self.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(WorkspaceError, OSError):
                self.remove(temporary)
            raise

    @staticmethod
    def _mode(root: int, path: str, fd: int, executable: bool) -> int:
        """Permissions of the file at `path`; those of the new one at `fd` when there is none."""
        try:
            old = open_beneath(root, path, os.O_PATH)
        except FileNotFoundError:
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            return mode | (mode & 0o444) >> 2 if executable else mode
        try:
            return stat.S_IMODE(os.fstat(old).st_mode) & 0o777
        finally:
            os.close(old)

    def rename(self, source: str, target: str) -> None:
        """Move a file of the workspace onto another path of it."""
        with self._errors(target), self._beneath(target) as root:
            self._check(source)
            self._make_parents(root, target)
            with self._parent(root, source) as old, self._parent(root, target) as new:
                name = target.rpartition("/")[2]
                self._reject_existing(new, name, target)
                os.rename(source.rpartition("/")[2], name, src_dir_fd=old, dst_dir_fd=new)

    def keep(self, paths: Iterable[str]) -> None:
        """Force onto the disk that files were renamed to these paths."""
        for path in {path.rpartition("/")[0]: path for path in paths}.values():
            with (
                self._errors(path),
                self._beneath(path) as root,
                self._parent(root, path) as parent,
            ):
                os.fsync(parent)

    def remove(self, path: str) -> None:
        """Delete a file if it is there."""
        with (
            self._errors(path),
            self._beneath(path) as root,
            contextlib.suppress(FileNotFoundError),
            self._parent(root, path) as parent,
        ):
            os.unlink(path.rpartition("/")[2], dir_fd=parent)

    def read(self, path: str, *, max_bytes: int = 64 << 20) -> bytes:
        """The whole file. Raises WorkspaceError also when it is larger than `max_bytes`."""
        with self._reading(path) as fd, self._errors(path):
            size = os.fstat(fd).st_size
            if size > max_bytes:
                self._fail(path, f"it has {size} bytes and at most {max_bytes} are read")
            with os.fdopen(os.dup(fd), "rb") as file:
                return file.read(max_bytes)

    def sha256(self, path: str) -> str | None:
        """The hash of a file in hexadecimal digits; None when there is no such file."""
        try:
            with self._reading(path) as fd, self._errors(path):
                digest = hashlib.sha256()
                while chunk := os.read(fd, _CHUNK):
                    digest.update(chunk)
                return digest.hexdigest()
        except WorkspaceError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    # -- resolution ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _beneath(self, path: str) -> Iterator[int]:
        self._check(path)
        try:
            # The root may be reached over the user's own links; what is below it may not.
            root = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise WorkspaceError(
                f"The workspace {self.root} cannot be opened: {error.strerror}.", path=path
            ) from error
        try:
            yield root
        finally:
            os.close(root)

    @contextlib.contextmanager
    def _parent(self, root: int, path: str) -> Iterator[int]:
        folder = path.rpartition("/")[0]
        # A descriptor that can be synced, so not O_PATH.
        fd = open_beneath(root, folder or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _reading(self, path: str) -> Iterator[int]:
        with self._errors(path), self._beneath(path) as root:
            fd = open_beneath(root, path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            self._reject_special(fd, path)
            yield fd
        finally:
            os.close(fd)

    def _make_parents(self, root: int, path: str, mode: int | None = None) -> None:
        parts = path.split("/")[:-1]
        if not parts:
            return
        folder = "/".join(parts)
        with contextlib.suppress(FileNotFoundError):
            os.close(open_beneath(root, folder, os.O_PATH | os.O_DIRECTORY))
            return
        mode = mode or stat.S_IMODE(os.fstat(root).st_mode) & 0o777
        held = os.dup(root)
        try:
            for part in parts:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, mode, dir_fd=held)
                below = open_beneath(held, part, os.O_PATH | os.O_DIRECTORY)
                os.close(held)
                held = below
        finally:
            os.close(held)

    # -- rejections ------------------------------------------------------------------------------

    def _check(self, path: str) -> None:
        problem = path_problem(path)
        if problem is not None:
            self._fail(path, problem)

    def _reject_special(self, fd: int, path: str) -> None:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            self._fail(path, "it is not a regular file")

    def _reject_existing(self, parent: int, name: str, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "not a regular file"
                self._fail(path, f"it is {kind}")

    def _fail(self, path: str, problem: str) -> NoReturn:
        raise WorkspaceError(
            f"The path {path!r} cannot be used in the workspace {self.root}: {problem}.", path=path
        )

    @contextlib.contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise workspace_error(self.root, path, error) from error


def workspace_error(root: Path, path: str, error: OSError) -> WorkspaceError:
    """An operating system's error, told as one of the workspace."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkspaceError(
            f"The disk of the workspace {root} is full; {path} is incomplete.",
            path=path,
            remedy="Free some space (or raise the quota) and run the call again.",
        )
    problem = _MEANINGS.get(error.errno or 0, error.strerror or str(error))
    return WorkspaceError(
        f"The path {path!r} cannot be used in the workspace {root}: {problem}.", path=path
    )


_MEANINGS = {
    errno.ELOOP: "a symbolic link is on the way",
    errno.EXDEV: "it leaves the workspace",
    errno.ENOTDIR: "a part of it is a file or a symbolic link",
    errno.EISDIR: "it is a folder",
    errno.ENOENT: "there is no such file",
    errno.EROFS: "the file system is read-only",
}


def write_all(fd: int, data: bytes) -> None:
    """Write every byte. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
