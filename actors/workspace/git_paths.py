"""Whether git can take a file at a path so that nothing of the user's is lost.

A commit made by `git fast-import` skips what `git add` would notice: a submodule or a nested
repository on the way, a merge that is not finished, a filter that would store other bytes, a path
that a sparse checkout leaves out. `git add` stops at some of them and so do we at all, with a
remedy, and before anything is written. Modes and line ends are supported: a file keeps the mode
that it has, and text is stored as git would store it.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from actors.workspace.git_process import GitProcess
from familiar.errors import WorkspaceError

PLAIN, EXECUTABLE = "100644", "100755"
_LINK, _FOLDER, _GITLINK = "120000", "040000", "160000"

_OPERATIONS = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or `git am`",
    "BISECT_LOG": "a bisection",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What git has at a path. `problem` and `remedy` are empty when a file may be committed."""

    path: str
    mode: str = PLAIN
    blob: str = ""
    problem: str = ""
    remedy: str = ""

    def reject(self, root: Path) -> WorkspaceError | None:
        """The error that this path means; None when it can be committed."""
        if not self.problem:
            return None
        return WorkspaceError(
            f"{self.path!r} cannot be committed in {root}: {self.problem}.",
            path=self.path,
            remedy=self.remedy,
        )


def raise_if_busy(root: Path, folder: Path) -> None:
    """Raises WorkspaceError while the user merges, rebases and the like: a commit in between would
    become a part of it, or be lost with it."""
    for name, operation in _OPERATIONS.items():
        if os.path.lexists(folder / name):
            raise WorkspaceError(
                f"In the repository {root} {operation} is in progress.",
                remedy="Finish or abort it (`git status` says how), then run again.",
            )


async def inspect(git: GitProcess, paths: Iterable[str]) -> dict[str, Standing]:
    """What stands at each path, in HEAD, in the index, in the attributes and on the disk."""
    wanted = list(dict.fromkeys(paths))
    in_index, in_head, attributes = await asyncio.gather(
        _index(git, wanted), _head(git, wanted), _attributes(git, wanted)
    )
    return {
        path: _judge(git.root, path, in_index, in_head.get(path), attributes.get(path, {}))
        for path in wanted
    }


async def renewed(git: GitProcess, known: Iterable[Standing]) -> dict[str, Standing]:
    """The same standings with the objects that HEAD has now."""
    standings = {standing.path: standing for standing in known}
    in_head = await _head(git, list(standings))
    return {
        path: replace(standing, blob=in_head.get(path, ("", ""))[1])
        for path, standing in standings.items()
    }


def _judge(
    root: Path,
    path: str,
    in_index: dict[str, tuple[str, str, str]],
    in_head: tuple[str, str] | None,
    attributes: dict[str, str],
) -> Standing:
    problem, remedy = _problem(root, path, in_index, in_head, attributes)
    tag, tracked, _ = in_index.get(path, ("", "", ""))
    if not tag and in_head:
        tracked = in_head[0]
    mode = EXECUTABLE if tracked == EXECUTABLE else PLAIN
    return Standing(path, mode, in_head[1] if in_head else "", problem, remedy)


def _problem(
    root: Path,
    path: str,
    in_index: dict[str, tuple[str, str, str]],
    in_head: tuple[str, str] | None,
    attributes: dict[str, str],
) -> tuple[str, str]:
    for above in _above(path):
        _, mode, _ = in_index.get(above, ("", "", ""))
        if mode == _GITLINK:
            return f"{above} is a submodule", f"Use {above} as the workspace, or another path."
        if mode:
            return f"{above} is a file in git's index", f"Remove it from git (git rm {above})."
        if os.path.lexists(root / above / ".git"):
            return f"{above} is another repository", f"Use {above} as the workspace."
        if (problem := _on_disk(root / above, stat.S_IFDIR)) is not None:
            return f"{above} is {problem}", "Choose another path."
    if (problem := _on_disk(root / path, stat.S_IFREG)) is not None:
        return f"it is {problem}", "Choose another path."
    tag, mode, stage = in_index.get(path, ("", "", "0"))
    held = {mode, in_head[0] if in_head else ""}
    if _GITLINK in held:
        return "it is a submodule", "Choose another path."
    if _LINK in held:
        return "git has a symbolic link there", "Remove the link from git (git rm)."
    if _FOLDER in held:
        return "git has a folder there", "Remove the folder from git (git rm -r) and commit that."
    if stage != "0":
        return "it has merge conflicts in git's index", "Resolve them (git add), then run again."
    if tag.upper() == "S":
        return (
            "a sparse checkout leaves it out",
            "Take it in with `git sparse-checkout add`, then run again.",
        )
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
    return "", ""


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


def _above(path: str) -> Iterator[str]:
    """The folders on the way to a path."""
    parts = path.split("/")[:-1]
    return ("/".join(parts[: count + 1]) for count in range(len(parts)))


# -- what git says -------------------------------------------------------------------------------


async def _index(git: GitProcess, paths: list[str]) -> dict[str, tuple[str, str, str]]:
    """Tag, mode and stage of the index's entries at these paths and above them. The tag is S for
    an entry that a sparse checkout leaves out."""
    asked = dict.fromkeys(place for path in paths for place in (*_above(path), path))
    out = await git.run("ls-files", "-s", "-t", "-z", "--", *map(_exactly, asked))
    found = {}
    for line in filter(None, out.split(b"\0")):
        facts, _, path = line.partition(b"\t")
        tag, mode, _, stage = facts.decode().split(" ")
        found[os.fsdecode(path)] = (tag, mode, stage)
    return found


def _exactly(path: str) -> str:
    """A pathspec for this entry alone. A plain one would match all that is below it, too; one with
    a pattern does not, so the last character is escaped."""
    special = "".join(f"\\{char}" if char in "*?[\\" else char for char in path[:-1])
    return f":(glob){special}\\{path[-1]}"


async def _head(git: GitProcess, paths: list[str]) -> dict[str, tuple[str, str]]:
    """Mode and object of HEAD's entries at these paths; nothing before the first commit."""
    code, out, _ = await git.attempt(
        "ls-tree", "-z", "HEAD", "--", *(f":(literal){path}" for path in paths)
    )
    found = {}
    for line in filter(None, out.split(b"\0") if code == 0 else []):
        facts, _, path = line.partition(b"\t")
        mode, _, name = facts.decode().split(" ")
        found[os.fsdecode(path)] = (mode, name)
    return found


async def _attributes(git: GitProcess, paths: list[str]) -> dict[str, dict[str, str]]:
    asked = "\0".join([*paths, ""]).encode()
    out = await git.run(
        "check-attr", "-z", "--stdin", "filter", "working-tree-encoding", stdin=asked
    )
    fields = [os.fsdecode(field) for field in out.split(b"\0")]
    found: dict[str, dict[str, str]] = {}
    for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        found.setdefault(path, {})[name] = value
    return found
