"""Git's objects for a row of commits of one file each, made here and not by a process for each.

HEAD's commit and the folders on the way to the files come from one `git cat-file --batch`. The new
blobs, trees and commits are computed from them and stored as loose objects, as `git add` stores
its own. Only `git update-ref` makes them a part of the history, and it refuses when HEAD has moved.
"""

from __future__ import annotations

import bisect
import hashlib
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from actors.workspace.files import write_all
from familiar.errors import WorkspaceError

FOLDER = "40000"
_AUTHOR = "familiar <familiar@localhost>"


class TreeEntry(NamedTuple):
    """One line of a tree: a mode as git writes it (octal digits) and the object's name."""

    mode: str
    name: str


def object_name(kind: str, data: bytes, hash_name: str) -> str:
    """Git's name for this content: `hash_name` is sha1 or sha256."""
    return hashlib.new(hash_name, b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest()


def folders_above(path: str) -> Iterator[str]:
    """The folders on the way to a path, from the top."""
    parts = path.split("/")[:-1]
    return ("/".join(parts[: count + 1]) for count in range(len(parts)))


class Folder:
    """The entries of one tree, in git's order: a folder as if its name ended in a slash."""

    def __init__(self, data: bytes = b"", width: int = 20) -> None:
        """From a tree's content; `width` is the number of bytes of an object's name in it."""
        self.entries: dict[str, TreeEntry] = {}
        self._keys: list[bytes] = []
        self._lines: dict[bytes, bytes] = {}
        at = 0
        while at < len(data):
            end = data.index(b"\0", at)
            mode, _, name = data[at:end].partition(b" ")
            after = end + 1 + width
            self._keys.append(name + b"/" if mode == b"40000" else name)
            self._lines[self._keys[-1]] = data[at:after]
            self.entries[os.fsdecode(name)] = TreeEntry(mode.decode(), data[end + 1 : after].hex())
            at = after

    def put(self, name: str, entry: TreeEntry) -> None:
        if (old := self.entries.get(name)) is not None:
            self._keys.remove(self._key(name, old))
        key = self._key(name, entry)
        bisect.insort(self._keys, key)
        self._lines[key] = b"%s %s\0" % (entry.mode.encode(), os.fsencode(name)) + bytes.fromhex(
            entry.name
        )
        self.entries[name] = entry

    def content(self) -> bytes:
        return b"".join(map(self._lines.__getitem__, self._keys))

    @staticmethod
    def _key(name: str, entry: TreeEntry) -> bytes:
        return os.fsencode(f"{name}/" if entry.mode == FOLDER else name)


class Head:
    """HEAD's commit ("" before the first one) and its folders on the way to some paths."""

    def __init__(self, commit: str, folders: dict[str, Folder]) -> None:
        self.commit = commit
        self._folders = folders

    @staticmethod
    def asked(paths: Iterable[str]) -> bytes:
        """The input of `git cat-file --batch` for these paths."""
        wanted = dict.fromkeys(folder for path in paths for folder in folders_above(path))
        lines = ["HEAD^{commit}", "HEAD^{tree}", *(f"HEAD:{folder}" for folder in wanted)]
        return "".join(f"{line}\n" for line in lines).encode()

    @classmethod
    def read(cls, asked: bytes, said: bytes) -> Head:
        """From the output of `git cat-file --batch`. Raises WorkspaceError when a folder of HEAD
        is missing: of a partial clone, or of a broken repository."""
        folders = {"": Folder()}
        commit, at = "", 0
        lines = asked.decode().splitlines()
        for line in lines:
            end = said.index(b"\n", at)
            facts = said[at:end].split(b" ")
            at = end + 1
            if len(facts) != 3 or not facts[2].isdigit():
                continue  # "missing", or no single object
            size = int(facts[2])
            data = said[at : at + size]
            at += size + 1
            if line == "HEAD^{commit}":
                commit = facts[0].decode()
            elif facts[1] == b"tree":
                folder = "" if line == "HEAD^{tree}" else line.removeprefix("HEAD:")
                folders[folder] = Folder(data, len(facts[0]) // 2)
        head = cls(commit, folders)
        for folder in (line.removeprefix("HEAD:") for line in lines[2:]):
            entry = head.entry(folder)
            if entry is not None and entry.mode == FOLDER and folder not in folders:
                raise WorkspaceError(
                    f"git has no object for the folder {folder}, and nothing is fetched.",
                    path=folder,
                    remedy="`git fsck` says more; `git fetch` completes a partial clone.",
                )
        return head

    def entry(self, path: str) -> TreeEntry | None:
        folder, _, name = path.rpartition("/")
        return self._folders[folder].entries.get(name) if folder in self._folders else None

    def names(self, folder: str) -> Iterable[str]:
        return self._folders[folder].entries if folder in self._folders else ()

    def with_file(self, path: str, entry: TreeEntry, objects: Objects) -> str:
        """Put a file into the tree and return the name of the new tree."""
        folder, _, name = path.rpartition("/")
        while True:
            changed = self._folders.setdefault(folder, Folder())
            changed.put(name, entry)
            entry = TreeEntry(FOLDER, objects.add("tree", changed.content()))
            if not folder:
                return entry.name
            folder, _, name = folder.rpartition("/")


class Objects:
    """New objects. `store` writes them; what is stored is safe to store again."""

    def __init__(self, hash_name: str) -> None:
        self._hash_name = hash_name
        self._new: dict[str, bytes] = {}

    def add(self, kind: str, data: bytes) -> str:
        name = object_name(kind, data, self._hash_name)
        self._new[name] = b"%s %d\0" % (kind.encode(), len(data)) + data
        return name

    def commit(self, tree: str, parent: str, message: str, when: int) -> str:
        """A commit by familiar at `when`, in seconds since 1970."""
        lines = [f"tree {tree}", *([f"parent {parent}"] if parent else [])]
        lines += [f"{who} {_AUTHOR} {when} +0000" for who in ("author", "committer")]
        return self.add("commit", "\n".join([*lines, "", message]).encode("utf-8", "replace"))

    def store(self, folder: Path) -> None:
        """Write all of them below git's folder of objects, with its permissions. Raises OSError."""
        mode = stat.S_IMODE(folder.stat().st_mode)
        draft = f"tmp_obj_{os.urandom(6).hex()}"  # git cleans these up
        for name, data in self._new.items():
            below = f"{folder}/{name[:2]}"
            place = f"{below}/{name[2:]}"
            if os.path.exists(place):
                continue
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            try:
                fd = os.open(f"{below}/{draft}", flags, mode & 0o444)
            except FileNotFoundError:
                os.mkdir(below, mode & 0o777)
                fd = os.open(f"{below}/{draft}", flags, mode & 0o444)
            try:
                write_all(fd, zlib.compress(data, 1))
            finally:
                os.close(fd)
            os.rename(f"{below}/{draft}", place)
        self._new.clear()
