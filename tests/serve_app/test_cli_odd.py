"""Nothing that a person can type or set ends in a traceback; each exit code is a documented one.

A child is forked for each case (see `forked`).
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.serve_app.forked import Stdout, forked

CODES = {0, 1, 2, 3, 4}
READING = ("ls", "show", "log", "calls", "explain", "cancel", "pools", "diff")
WORDS = (
    *("", " ", "@last", "r-", "-", "--", "\udcff", "é\u0301\u202e", "\x1b[31m", "a" * 5000),
    *("%s", "../..", "0", "-1", "[bold]", "\n", "\t", "☃"),
)
URLS = (
    *("", "x", "http://", "http://[", "ftp://h", "http://127.0.0.1:1", "http://127.0.0.1:99999"),
    *("http://user:pass-word@127.0.0.1:1", "http://é.invalid", "http://127.0.0.1:1/\udcff"),
)
CONFIGS = ("", ".", "/nowhere.yaml", "/dev/null", "/proc/self/mem", "\udcff.yaml", "/etc/shadow")
SETS = (
    "",
    "=",
    "a",
    "a=",
    "=1",
    "api.port=99999",
    "api.port=x",
    "pools={",
    "store.url=x://",
    "é=1",
)
ENVIRONMENTS: tuple[Mapping[str, str | None], ...] = (
    {},
    {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    {"COLUMNS": "20"},
    {"COLUMNS": "1"},
    {"COLUMNS": "0"},
    {"COLUMNS": "x", "LINES": "-3"},
    {"COLUMNS": "9" * 30},
    {"COLUMNS": "0", "LINES": "0", "TERM": ""},
    {"HOME": None, "XDG_STATE_HOME": None},
    {"HOME": "/nowhere", "TMPDIR": "/nowhere"},
    {"TERM": "dumb", "NO_COLOR": "1"},
    {"FORCE_COLOR": "1", "TERM": "xterm-256color"},
    {"FAMILIAR_URL": "x", "FAMILIAR_KEY": "é\n", "FAMILIAR_CONFIG": ""},
    {"FAMILIAR_CONFIG": "/nowhere", "RAY_ADDRESS": "x"},
    {"TZ": "Nowhere/Odd"},
)
STREAMS: tuple[Stdout, ...] = ("pipe", "closed", "full", "gone")


def cases(config: str, count: int, seed: int) -> list[tuple[tuple[str, ...], int, Stdout]]:
    """Commands with odd words, drawn with a seed: words, number of the environment, streams."""
    draw = random.Random(seed)
    fixed: list[tuple[str, ...]] = [
        *(
            (command,)
            for command in (*READING, "run", "serve", "down", "doctor", "config", "store")
        ),
        *((command, "-h") for command in (*READING, "run", "config", "store")),
        *(("config", "check", file) for file in (*CONFIGS, config)),
        *(("config", "check", config, "--set", item) for item in SETS),
        ("run", "-f", "-", "--url", "http://127.0.0.1:1"),
        ("store", "rebuild", "--config", config),
    ]
    drawn: list[tuple[str, ...]] = []
    for _ in range(count):
        words: list[str] = [draw.choice(READING)]
        if words[0] not in ("ls", "pools"):
            words += [draw.choice(WORDS) for _ in range(2 if words[0] == "diff" else 1)]
        where = draw.randrange(3)
        if where == 0:
            words += ["--url", draw.choice(URLS)]
        else:
            words += ["--config", draw.choice((*CONFIGS, config, config, config))]
        if draw.random() < 0.3:
            words += ["--set", draw.choice(SETS)]
        if draw.random() < 0.3:
            words += ["--key", draw.choice(WORDS)]
        if draw.random() < 0.4:
            words.append("--json")
        drawn.append(tuple(words))
    environments = itertools.cycle(range(len(ENVIRONMENTS)))
    streams = itertools.cycle(STREAMS)
    return [(words, next(environments), next(streams)) for words in (*fixed, *drawn)]


@pytest.mark.parametrize("seed", [1])
def test_nothing_that_is_typed_or_set_ends_in_a_traceback(config_file: Path, seed: int) -> None:
    count = int(os.environ.get("FAMILIAR_FUZZ_COMMANDS", "25"))
    folder = config_file.parent / "here"
    folder.mkdir(mode=0o500)
    faults = []
    for words, environment, streams in cases(str(config_file), count, seed):
        ended = forked(
            words,
            env=ENVIRONMENTS[environment],
            stdout=streams,
            folder=folder,
            stdin=None if environment % 2 else b"\xff\x00",
        )
        if ended.code not in CODES or "Traceback" in ended.said:
            faults.append((words, ENVIRONMENTS[environment], streams, ended))
    assert not faults, "\n\n".join(
        f"{words!r} {env!r} {streams}: {ended.code}\n{ended.said[-1500:]}"
        for words, env, streams, ended in faults
    )
