"""Whether a SQLite file is still the one that was opened.

A process that holds a file open goes on writing after the file was removed or another one was moved
to its place. A copy that is written over the file keeps the inode; its change shows in the time
that the kernel notes of each write, and then the row in the file itself (without the log beside it)
is compared. The log is there as long as the file is open for writing. It may become shorter only
when all of it is in the file; else commits are lost, although SQLite goes on.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from actors.store.failure import replaced


@dataclass(frozen=True, slots=True)
class Inode:
    path: Path
    device: int
    number: int

    @classmethod
    def of(cls, path: Path) -> Inode:
        found = os.stat(path)
        return cls(path, found.st_dev, found.st_ino)

    def check(self) -> os.stat_result:
        """Raises `StoreReplaced` when another file, or none, has the name."""
        try:
            found = os.stat(self.path)
        except OSError:
            raise replaced(self.path, "the file was removed") from None
        if (found.st_dev, found.st_ino) != (self.device, self.number):
            raise replaced(self.path, "another file has its name")
        return found


_MAGIC = b"SQLite format 3\0"


class FileWatch:
    """The file at `path`, and how far it was written."""

    def __init__(self, path: Path, store_id: str) -> None:
        self._path = path
        self._store_id = store_id
        self.inode = Inode.of(path)
        found = self.inode.check()
        self._written = (found.st_ctime_ns, found.st_size)
        self._flushed = (0, 0)
        self._flushed = self._read()
        self._log: Inode | None = None
        self._log_size = 0

    def wrote(self) -> None:
        """A transaction of ours has ended, so the log is there."""
        try:
            self._log = self._log or Inode.of(self._path.with_name(f"{self._path.name}-wal"))
            self._log_size = os.stat(self._log.path).st_size
        except OSError:
            pass  # the next check tells

    def check(self, commits: int) -> None:
        """Raises `StoreReplaced` for another file, also for an older copy in the same one.
        `commits` were made so far."""
        found = self.inode.check()
        if self._log is not None:
            size = self._log.check().st_size
            if size < self._log_size and self._read()[1] < commits:
                raise replaced(self._log.path, "it was cut, or an older copy was put in its place")
        written = (found.st_ctime_ns, found.st_size)
        if written == self._written:
            return
        flushed = self._read()
        if flushed < self._flushed:
            raise replaced(self._path, "an older copy was put in its place")
        self._written, self._flushed = written, flushed

    def _read(self) -> tuple[int, int]:
        """Epoch and commits as the last checkpoint left them in the file."""
        try:
            connection = sqlite3.connect(f"file:{quote(str(self._path))}?immutable=1", uri=True)
            try:
                connection.row_factory = sqlite3.Row
                row = connection.execute("SELECT * FROM store").fetchone()
            finally:
                connection.close()
        except sqlite3.Error:
            with open(self._path, "rb") as file:
                if file.read(len(_MAGIC)) == _MAGIC:
                    # A checkpoint is at work, or stopped half way at a reader: the file makes sense
                    # with its log only, and the next checkpoint tells.
                    return self._flushed
            raise replaced(self._path, "its content is no longer a familiar database") from None
        if row is None or row["store_id"] != self._store_id:
            raise replaced(self._path, "another database was put in its place")
        # A file whose newest migration is still in the log has no count.
        return row["epoch"], row["commits"] if "commits" in row.keys() else 0  # noqa: SIM118
