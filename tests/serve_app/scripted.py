"""A whole deployment with scripted engines as a configuration file, for programs that are started
as a person starts them, and the processes that such a program must not leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

PATIENCE_S = 240.0
MARK = "FAMILIAR_TEST_MARK"
GOAL = "Write `one.md`, and `two.md` which goes on from it."
PLAN = {
    "continue": False,
    "worker_calls": [
        {"id": "one", "alias": "naughty", "prompt": "Write one.md.", "output_file": "one.md"},
        {
            "id": "two",
            "alias": "naughty",
            "prompt": "Write two.md.",
            "output_file": "two.md",
            "depends_on": ["one"],
        },
    ],
}
BROKEN: dict[str, Any] = {
    "when": {"call": "two"},
    "faults": [{"kind": "status", "status": 400, "message": "no such model"}],
}
"""A rule by which the run fails."""
ENDLESS_GOAL = f"{GOAL} Take your time."
ENDLESS: tuple[dict[str, Any], ...] = (
    {
        "when": {"call": "plan-*", "contains": "Take your time"},
        "answer": json.dumps(PLAN).replace('"id": "two"', '"id": "endless"'),
    },
    {"when": {"call": "endless"}, "rates": {"ttft_s": 600.0}},
)
"""Rules by which the second call of `ENDLESS_GOAL` takes longer than any test waits."""


def write_config(folder: Path, *rules: Mapping[str, Any], **script: Any) -> Path:
    """A configuration in `folder`; `rules` come before those of the usual run."""
    told = {
        "rates": {"ttft_s": 0.05, "tokens_per_s": 200},
        "rules": [*rules, {"when": {"call": "plan-*"}, "answer": json.dumps(PLAN)}],
        "answer": {"template": "# $call\n\nSome words that are streamed.\n"},
        **script,
    }
    settings = {
        "deployment": "scripted",
        "pools": {
            "smol": {
                "engine": "scripted",
                "model": "script",
                "replicas": [{"cores": [0]}, {"cores": [1]}],
                "engine_args": {"script": told},
            }
        },
        "aliases": {
            "orchestrator": {"pool": "smol"},
            "naughty": {"pool": "smol", "mode": "output_file"},
        },
        "orchestrator": {"generator": "naughty"},
        "budgets": {"attempts": 1, "turns": 1},
        "store": {"url": f"sqlite:///{folder}/familiar.db"},
        "workspace": {"root": str(folder / "workspaces")},
        "api": {"auth": "none", "port": free_port()},
        "cluster": {"num_cpus": 4, "object_store_mib": 80},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Program:
    """A program under test. `lines` has what it said so far, stdout and stderr together."""

    process: subprocess.Popen[str]
    mark: str
    lines: list[str] = field(default_factory=list)
    _queue: queue.Queue[str | None] = field(default_factory=queue.Queue)

    def read(self, stream: IO[str]) -> None:
        for line in stream:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, words: str) -> str:
        """The first line that has these words."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                line = self._queue.get(timeout=1.0)
                if line is None:
                    break
                self.lines.append(line)
                if words in line:
                    return line
        raise AssertionError(f"it never said {words!r}, but:\n{self.said}")

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if one is named, and wait for the end; the exit code."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        while (line := self._queue.get(timeout=30)) is not None:
            self.lines.append(line)
        return code

    def left(self) -> list[str]:
        """Processes that it started and that are still there, after they had time to go."""
        deadline = time.monotonic() + 60
        while (found := marked(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found


@contextlib.contextmanager
def program(*words: str, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    """`python WORDS…` with its own mark, in the repository's root; killed at the end if need be."""
    mark = uuid.uuid4().hex
    root = Path(__file__).resolve().parent.parent.parent
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=root,
        env={**os.environ, MARK: mark, "PYTHONUNBUFFERED": "1", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    found = Program(process, mark)
    reader = threading.Thread(target=found.read, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        yield found
    finally:
        process.kill()
        process.wait()


def marked(mark: str) -> list[str]:
    """Command lines of live processes that inherited the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                    if state != "Z":
                        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                        found.append(command.decode(errors="replace"))
    return found
