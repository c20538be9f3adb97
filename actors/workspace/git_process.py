"""One git command in the workspace, which runs nothing but git itself.

A repository's own configuration can name programs: hooks, filters, helpers, a remote's upload-pack.
A person may name a repository that somebody else filled, so none of them may run. Three rules see
to it. The commands that `COMMANDS` lists are the only ones, and none of them uses an editor, a
pager, a diff driver, a merge driver, a signature or a credential. Every protocol is off and missing
objects are not fetched, so no remote is ever spoken to. The settings below turn off the rest, and
a setting on the command line wins over each file that the repository includes. `git update-index`
compares files that are as new as the index, and hash-object converts one, both through the filters
of the configuration: those get empty commands, under the names that the configuration has. Two of
the settings are not about programs: with them git would hide our files from `git status`, or reject
line ends that it converts.

git's own check of the owner stays: a repository of another user is rejected, with a remedy.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from familiar.errors import WorkspaceError

COMMANDS = frozenset(
    {
        "cat-file",
        "check-attr",
        "config",
        "hash-object",
        "init",
        "ls-files",
        "rev-list",
        "rev-parse",
        "update-index",
        "update-ref",
    }
)

_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.quotePath": "false",
    "core.alternateRefsCommand": "false",
    "core.ignoreStat": "false",
    "core.safecrlf": "false",
    "protocol.allow": "never",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
_FLAGS = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]

_CONVERTING = frozenset({"update-index", "hash-object"})

_LONGEST_S = 120.0
"""A configuration may include a pipe that nobody writes to; git would wait for it for ever."""


class GitProcess:
    """Runs git commands in one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config_files: tuple[Path, ...] = ()
        """The repository's own configuration, once known; it is read again when these change."""
        self._config: tuple[object, dict[str, str]] | None = None

    async def run(self, *args: str, stdin: bytes = b"") -> bytes:
        """The command's output. Raises WorkspaceError when it fails."""
        code, out, err = await self.attempt(*args, stdin=stdin)
        if code != 0:
            raise WorkspaceError(f"git {args[0]} failed in {self.root}: {first_line(err)}.")
        return out

    async def attempt(self, *args: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Exit status, output and error text. Raises WorkspaceError when git cannot run, takes too
        long, or rejects the repository's owner."""
        if args[0] not in COMMANDS:
            raise ValueError(f"git {args[0]} is not known to run nothing else")
        environment = self._environment
        if args[0] in _CONVERTING:
            environment = environment | _filters_off(await self.configuration())
        # A thread and a plain process: under uvloop inside a Ray worker, a child that ends early
        # closes the transport that asyncio's own subprocesses still want to write to.
        try:
            done = await asyncio.to_thread(
                subprocess.run,
                ["git", "--no-pager", *_FLAGS, *args],
                cwd=self.root,
                env=environment,
                input=stdin,
                capture_output=True,
                check=False,
                timeout=_LONGEST_S,
                umask=_umask(self.root),
            )
        except FileNotFoundError as error:
            missing = "git is not installed" if self.root.is_dir() else "the folder is gone"
            raise WorkspaceError(f"git cannot run in {self.root}: {missing}.") from error
        except subprocess.TimeoutExpired as error:
            raise WorkspaceError(
                f"git {args[0]} in {self.root} was not done after {_LONGEST_S:.0f} s."
            ) from error
        if done.returncode and b"dubious ownership" in done.stderr:
            raise WorkspaceError(
                f"The repository {self.root} belongs to another user, and git does not trust it.",
                remedy="Run familiar as its owner, or give the folder and its .git to the user "
                "that runs familiar (chown -R).",
            )
        return done.returncode, done.stdout, done.stderr

    @cached_property
    def _environment(self) -> dict[str, str]:
        """git sees neither the user's configuration nor a repository above the workspace, and can
        neither reach a remote nor ask a person."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return kept | {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CEILING_DIRECTORIES": str(self.root.resolve().parent),
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_ALLOW_PROTOCOL": "",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }

    async def configuration(self) -> Mapping[str, str]:
        """The repository's settings as git has them: section and last part of a name in lower case,
        the last value of several. Raises WorkspaceError."""
        seen = [_signature(file) for file in self.config_files]
        if self._config is not None and seen and self._config[0] == seen:
            return self._config[1]
        out = await self.run("config", "-z", "--list")
        settings = {}
        for item in filter(None, out.split(b"\0")):
            name, _, value = os.fsdecode(item).partition("\n")
            settings[name] = value
        includes = any(name.startswith(("include.", "includeif.")) for name in settings)
        self._config = None if includes else (seen, settings)
        return settings


def _signature(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _umask(root: Path) -> int:
    """Git's files in a private workspace are private, too; elsewhere the user's umask holds."""
    return 0o077 if root.is_dir() and not root.stat().st_mode & 0o077 else -1


def _filters_off(settings: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that give each filter of the configuration an empty command."""
    named = {name.rpartition(".")[0] for name in settings if name.startswith("filter.")}
    empty = {f"{name}.{kind}": "" for name in named for kind in ("clean", "smudge", "process")}
    pairs = list((empty | {f"{name}.required": "false" for name in named}).items())
    variables = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        variables[f"GIT_CONFIG_KEY_{number}"] = key
        variables[f"GIT_CONFIG_VALUE_{number}"] = value
    return variables


def first_line(err: bytes) -> str:
    """The first line of git's error text, without its full stop; where it is the head of a list,
    with the first item."""
    lines = [line.strip() for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    said = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    return said.rstrip(".") or "no message"
