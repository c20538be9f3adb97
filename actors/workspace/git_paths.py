"""Whether git can take a file at a path so that nothing of the user's is lost.

The commits are made from git's objects, so nothing stops where `git add` or `git checkout` would:
at a submodule or a nested repository on the way, a filter that would store other bytes, a path that
a sparse checkout leaves out, work that is not committed and would be overwritten. We stop at all of
them, with a remedy, before a model is asked and again before anything is written. Modes and line
ends are supported: a file keeps its mode, and text is stored as git would store it.
"""

from __future__ import annotations

import asyncio
import os
import stat
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.workspace.git_objects import FOLDER, Head, TreeEntry, folders_above, object_name
from actors.workspace.git_process import GitProcess
from familiar.errors import PathRejected, WorkspaceError

PLAIN, EXECUTABLE = "100644", "100755"
_LINK, _GITLINK = "120000", "160000"
_ATTRIBUTES = ".gitattributes"

_OPERATIONS = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or `git am`",
    "sequencer": "a series of cherry-picks or reverts",
    "BISECT_LOG": "a bisection",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a repository keeps its parts: `folder` is of this worktree, `common` of all of them."""

    folder: Path
    common: Path
    hash_name: str

    def locks(self) -> list[Path]:
        """The files by which another git process holds what a commit changes."""
        try:
            branch = (self.folder / "HEAD").read_bytes().removeprefix(b"ref:").strip()
        except OSError:
            branch = b""
        held = [self.folder / "index.lock", self.folder / "HEAD.lock"]
        return [*held, *([self.common / f"{os.fsdecode(branch)}.lock"] if branch else [])]


@dataclass(frozen=True, slots=True)
class Standing:
    """What git has at a path. `problem` and `remedy` are empty when a file may be committed."""

    path: str
    mode: str = PLAIN
    blob: str = ""
    problem: str = ""
    remedy: str = ""

    def reject(self, root: Path) -> PathRejected | None:
        """The error that this path means; None when it can be committed."""
        if not self.problem:
            return None
        return PathRejected(
            f"{self.path!r} cannot be committed in {root}: {self.problem}.",
            path=self.path,
            remedy=self.remedy,
        )


@dataclass(frozen=True, slots=True)
class _IndexEntry:
    """`tag` is S for an entry that a sparse checkout leaves out, in lower case for one that git is
    told to assume unchanged."""

    tag: str
    mode: str
    blob: str
    stage: str


def raise_if_busy(root: Path, folder: Path) -> None:
    """Raises WorkspaceError while the user merges, rebases and the like: a commit in between would
    become a part of it, or be lost with it."""
    for name, operation in _OPERATIONS.items():
        if os.path.lexists(folder / name):
            raise WorkspaceError(
                f"In the repository {root} {operation} is in progress.",
                remedy="Finish or abort it (`git status` says how), then run again.",
            )


async def inspect(
    git: GitProcess, layout: Layout, wanted: Mapping[str, str]
) -> tuple[Head, dict[str, Standing]]:
    """HEAD, and the standing of each path: in HEAD, in the index, in the attributes and on the
    disk. The values are names of the blobs that are to be written there ("" when not known)."""
    paths = list(wanted)
    asked = Head.asked(paths)
    index, said = await asyncio.gather(
        _index(git, layout, paths), git.run("cat-file", "--batch", stdin=asked)
    )
    head = Head.read(asked, said)
    settings = await git.configuration()
    attributes = await _attributes(git, layout, paths, index, settings)
    names = _Names(head, settings)
    standings = {}
    for path in paths:
        entry = head.entry(path)
        problem, remedy = (
            _in_the_way(git.root, path, index, head)
            or names.problem(path)
            or _left_out(path, layout, index.get(path), settings)
            or _other_bytes(attributes.get(path, {}))
            or ("", "")
        )
        if not problem:
            problem, remedy = await _unsaved(git, layout, path, index, entry, wanted[path])
        tracked = index[path].mode if path in index else entry.mode if entry else PLAIN
        mode = EXECUTABLE if tracked == EXECUTABLE else PLAIN
        standings[path] = Standing(path, mode, entry.name if entry else "", problem, remedy)
    return head, standings


_Problem = tuple[str, str] | None


def _in_the_way(root: Path, path: str, index: Mapping[str, _IndexEntry], head: Head) -> _Problem:
    for above in folders_above(path):
        modes = _modes(above, index, head)
        if _GITLINK in modes:
            return f"{above} is a submodule", f"Use {above} as the workspace, or another path."
        if modes - {FOLDER}:
            return f"{above} is a file in git", f"Remove it (git rm {above}) and commit that."
        if os.path.lexists(root / above / ".git"):
            return f"{above} is another repository", f"Use {above} as the workspace."
        if (problem := _on_disk(root / above, stat.S_IFDIR)) is not None:
            return f"{above} is {problem}", "Choose another path."
    if (problem := _on_disk(root / path, stat.S_IFREG)) is not None:
        return f"it is {problem}", "Choose another path."
    modes = _modes(path, index, head)
    if _GITLINK in modes:
        return "it is a submodule", "Choose another path."
    if _LINK in modes:
        return "git has a symbolic link there", "Remove the link from git (git rm)."
    if FOLDER in modes:
        return "git has a folder there", "Remove the folder from git (git rm -r) and commit that."
    return None


class _Names:
    """Names in HEAD that cannot be told from another: by the eye, or where git ignores case."""

    def __init__(self, head: Head, settings: Mapping[str, str]) -> None:
        self._head = head
        self._ignores_case = settings.get("core.ignorecase") == "true"
        self._folders: dict[str, dict[str, str]] = {}

    def problem(self, path: str) -> _Problem:
        for part in (*folders_above(path), path):
            folder, _, name = part.rpartition("/")
            if folder not in self._folders:
                names = self._head.names(folder)
                self._folders[folder] = {self._alike(other): other for other in names}
            other = self._folders[folder].get(self._alike(name), name)
            if other != name and name not in self._head.names(folder):
                return (
                    f"git has {other!r}, which is the same name to git or to the eye",
                    "Use exactly that name, or another one.",
                )
        return None

    def _alike(self, name: str) -> str:
        composed = unicodedata.normalize("NFC", name)
        return composed.casefold() if self._ignores_case else composed


def _left_out(
    path: str, layout: Layout, entry: _IndexEntry | None, settings: Mapping[str, str]
) -> _Problem:
    """What the index says of it, and what a sparse checkout says of a new file."""
    if entry is None:
        if settings.get("core.sparsecheckout") != "true" or _in_cone(path, layout, settings):
            return None
        return (
            "a sparse checkout leaves it out, or has patterns that are not of cone mode",
            "Take its folder in with `git sparse-checkout add` (cone mode), then run again.",
        )
    if entry.stage != "0":
        return "it has merge conflicts in git's index", "Resolve them (git add), then run again."
    if entry.tag.upper() == "S":
        return (
            "a sparse checkout leaves it out",
            "Take it in with `git sparse-checkout add`, then run again.",
        )
    if entry.tag.islower():
        return "git is told to assume that it is unchanged", (
            f"Take that back: git update-index --no-assume-unchanged {path}"
        )
    return None


def _in_cone(path: str, layout: Layout, settings: Mapping[str, str]) -> bool:
    """Whether a sparse checkout in cone mode has the folder of this file: itself by `/FOLDER/`, all
    that is below it unless `!/FOLDER/*/` follows."""
    try:
        text = (layout.folder / "info" / "sparse-checkout").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    if settings.get("core.sparsecheckoutcone", "true") != "true":
        return False
    lines = set(text.replace("\\", "").splitlines())
    folders = list(folders_above(path))
    if not folders:
        return "/*" in lines
    return f"/{folders[-1]}/" in lines or any(
        f"/{folder}/" in lines and f"!/{folder}/*/" not in lines for folder in folders
    )


def _other_bytes(attributes: Mapping[str, str]) -> _Problem:
    driver = attributes.get("filter", "")
    if driver not in {"", "unspecified", "unset"}:
        return (
            f"the git attribute filter={driver} applies to it, and familiar runs no filters",
            "Exclude the path in .gitattributes (`PATH !filter`), or choose another path.",
        )
    encoding = attributes.get("working-tree-encoding", "")
    if encoding.lower() not in {"", "unspecified", "unset", "utf-8", "utf8"}:
        return (
            f"the git attribute working-tree-encoding={encoding} applies to it",
            "familiar writes UTF-8: exclude the path in .gitattributes, or choose another one.",
        )
    return None


def _modes(path: str, index: Mapping[str, _IndexEntry], head: Head) -> set[str]:
    entry = head.entry(path)
    return {found.mode for found in (entry, index.get(path)) if found is not None}


async def _unsaved(
    git: GitProcess,
    layout: Layout,
    path: str,
    index: Mapping[str, _IndexEntry],
    committed: TreeEntry | None,
    new: str,
) -> tuple[str, str]:
    """The user's work at this path that the new file would overwrite. A file is safe when it is as
    committed, as it is to become, or one of git's objects; each text of ours is one before it is
    written, also when its publication was interrupted."""
    place = git.root / path
    try:
        data = await asyncio.to_thread(place.read_bytes) if _is_there(place) else None
    except FileNotFoundError:
        data = None
    except OSError as error:
        return f"it is not readable ({error.strerror})", "Make it readable, or choose another path."
    if data is None:
        if path in index and committed is None and index[path].blob != new:
            return "it is staged and not committed", "Commit it (or git rm --cached it)."
        return "", ""
    there = object_name("blob", data, layout.hash_name)
    saved = {new, committed.name if committed else ""}
    if there not in saved and (b"\r\n" in data or b"$Id:" in data):
        there = await converted(git, path, data)
    if there in saved:
        return "", ""
    if path in index and index[path].blob == there:
        return "it has staged changes", "Commit them (git commit) or unstage them."
    code, _, _ = await git.attempt("cat-file", "-e", there)
    if code == 0:
        return "", ""
    if path not in index and committed is None:
        return "it is there, and git does not have it", "Commit it, or move it away."
    return "it has changes that are not committed", "Commit them, or `git stash` them."


def _is_there(place: Path) -> bool:
    """Most files are new, and a thread for each of them would cost more than this look."""
    return os.path.lexists(place)


async def converted(git: GitProcess, path: str, data: bytes, *, store: bool = False) -> str:
    """The name of the blob as which git stores `data` at `path`, by its attributes and settings;
    with `store`, it is stored."""
    options = ["-w"] if store else []
    out = await git.run("hash-object", *options, "--stdin", "--path", path, stdin=data)
    return out.decode().strip()


def _on_disk(place: Path, wanted: int) -> str | None:
    try:
        kind = stat.S_IFMT(place.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"not readable ({error.strerror})"
    if kind == wanted:
        return None
    return {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFREG: "a file",
    }.get(kind, "not a regular file")


# -- what git says -------------------------------------------------------------------------------


async def _index(git: GitProcess, layout: Layout, paths: list[str]) -> dict[str, _IndexEntry]:
    """The index's entries at these paths, at the folders above them, and the files of attributes
    that count there."""
    if not (layout.folder / "index").exists():
        return {}
    asked = dict.fromkeys(_ATTRIBUTES for _ in paths[:1])
    for path in paths:
        asked[path] = _ATTRIBUTES
        for above in folders_above(path):
            asked[above] = asked[f"{above}/{_ATTRIBUTES}"] = _ATTRIBUTES
    out = await git.run("ls-files", "-s", "-v", "-z", "--", *map(_exactly, asked))
    found = {}
    for line in filter(None, out.split(b"\0")):
        facts, _, name = line.partition(b"\t")
        tag, mode, blob, stage = facts.decode().split(" ")
        found[os.fsdecode(name)] = _IndexEntry(tag, mode, blob, stage)
    return found


def _exactly(path: str) -> str:
    """A pathspec for this entry alone. A plain one would match all that is below it, too; one with
    a pattern does not, so the last character is escaped."""
    special = "".join(f"\\{char}" if char in "*?[\\" else char for char in path[:-1])
    return f":(glob){special}\\{path[-1]}"


async def _attributes(
    git: GitProcess,
    layout: Layout,
    paths: list[str],
    index: Mapping[str, _IndexEntry],
    settings: Mapping[str, str],
) -> dict[str, dict[str, str]]:
    """The attributes that change how a file is stored; git is asked only where any are set."""
    folders = {"", *(above for path in paths for above in folders_above(path))}
    files = {f"{folder}/{_ATTRIBUTES}".lstrip("/") for folder in folders}
    sources: Iterable[bool] = (
        not files.isdisjoint(index),
        bool(settings.keys() & {"core.attributesfile", "attr.tree"}),
        (layout.common / "info" / "attributes").exists(),
        any((git.root / file).exists() for file in files),
    )
    if not any(sources):
        return {}
    asked = "\0".join([*paths, ""]).encode()
    out = await git.run(
        "check-attr", "-z", "--stdin", "filter", "working-tree-encoding", stdin=asked
    )
    fields = [os.fsdecode(field) for field in out.split(b"\0")]
    found: dict[str, dict[str, str]] = {}
    for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        found.setdefault(path, {})[name] = value
    return found
