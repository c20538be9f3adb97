"""`familiar` in a child that is forked: closed streams, another encoding or a missing folder cannot
be had in this process, and a new interpreter takes a second to start."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

Stdout = Literal["pipe", "closed", "full", "gone"]
"""Where stdout goes: a pipe that is read, nowhere, a full disk, a pipe that nobody reads."""


@dataclass(frozen=True)
class Ended:
    code: int
    out: bytes
    err: bytes

    @property
    def said(self) -> str:
        return (self.out + self.err).decode("utf-8", "replace")


def forked(
    words: tuple[str, ...],
    *,
    folder: Path,
    env: Mapping[str, str | None] | None = None,
    stdout: Stdout = "pipe",
    stderr: bool = True,
    stdin: bytes | None = None,
) -> Ended:
    """`familiar WORDS`, with `stdout` as named, and with stderr and stdin closed if there are
    none."""
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        tempfile.TemporaryFile() as given,
    ):
        given.write(stdin or b"")
        given.seek(0)
        pid = os.fork()
        if pid == 0:
            streams = (None if stdin is None else given, out, err if stderr else None)
            _child(words, env or {}, stdout, folder, *streams)
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        err.seek(0)
        return Ended(os.waitstatus_to_exitcode(status), out.read(), err.read())


def _child(
    words: tuple[str, ...],
    env: Mapping[str, str | None],
    stdout: Stdout,
    folder: Path,
    given: IO[bytes] | None,
    out: IO[bytes],
    err: IO[bytes] | None,
) -> None:
    code = 99
    try:
        signal.alarm(60)
        os.chdir(folder)
        for name, value in env.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        for number, stream in enumerate((given, out, err)):
            if stream is None:
                os.close(number)
            else:
                os.dup2(stream.fileno(), number)
        if stdout == "closed":
            os.close(1)
        elif stdout == "full":
            os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        elif stdout == "gone":
            reading, writing = os.pipe()
            os.close(reading)
            os.dup2(writing, 1)
        encoding = env.get("PYTHONIOENCODING") or "utf-8"
        # As an interpreter that starts with these streams has them.
        sys.stdin = None if given is None else open(0, encoding="utf-8")  # type: ignore[assignment]  # noqa: SIM115
        sys.stdout = None if stdout == "closed" else open(1, "w", encoding=encoding)  # type: ignore[assignment]  # noqa: SIM115
        sys.stderr = None if err is None else open(2, "w", encoding=encoding)  # type: ignore[assignment]  # noqa: SIM115
        sys.argv = ["familiar", *words]
        from serve_app.cli import main

        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        for text in (sys.stdout, sys.stderr):
            if text is not None:
                text.flush()
    except BaseException:
        told = traceback.format_exc().encode("utf-8", "replace")
        os.write(err.fileno() if err is not None else out.fileno(), told)
    finally:
        os._exit(code)
