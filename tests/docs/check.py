"""Checks that the programs, options, files, targets and versions of a command exist.

Nothing is run here. A command of a program that nobody checks here fails the test.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

REPOSITORY = Path(__file__).resolve().parents[2]
SHELL = {
    "cmp",
    "sed",
    "sleep",
    "until",
    "export",
    "curl",
    "openssl",
    "sha256sum",
    "source",
    ".",
    "git",
}
"""A shell's own, and programs of every Debian; the tests that run the pages run them."""


UNFINISHED = {"MissingParameter", "BadOptionUsage"}
"""Errors of a parser that only wants more words."""


def check(command: str, *, whole: bool = True) -> None:
    """Raises `AssertionError`, or the error of the parser that does not take an option.

    A command in a sentence need not be `whole`: it may leave out values.
    """
    words = shlex.split(command, comments=True)
    words = words[: words.index("&")] if "&" in words else words
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    if not words:
        return
    program = words[0].removeprefix(".venv/bin/")
    if "/" in program or program.endswith(".md"):
        _file(program, words[1:])
    elif program not in SHELL:
        assert program in CHECKS, f"nothing checks {program}: {command}"
        try:
            CHECKS[program](words[1:])
        except Exception as error:
            if whole or type(error).__name__ not in UNFINISHED:
                raise


def _parse(command: Any, name: str, words: list[str]) -> None:
    """A command of typer or click takes these words. `…` and help end early."""
    if {"…", "-h", "--help", "--version"} & set(words):
        return
    context = command.make_context(name, list(words), resilient_parsing=False)
    left = [*context._protected_args, *context.args]
    if left and hasattr(command, "resolve_command"):
        below, found, rest = command.resolve_command(context, left)
        _parse(found, below, rest)


def _familiar(words: list[str]) -> None:
    from serve_app.cli.app import app

    if words:
        _parse(typer.main.get_command(app), "familiar", words)


def _make(words: list[str]) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in words:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make has no target {target}"


def _python(words: list[str]) -> None:
    if words[0] == "-m":
        assert find_spec(words[1]), f"there is no module {words[1]}"
        if words[1] == "serve_app.job":
            from serve_app.job import job

            program = typer.Typer()
            program.command()(job)
            _parse(typer.main.get_command(program), "job", words[2:])
    else:
        _file(words[0], words[1:])


def _ray(words: list[str]) -> None:
    if not words:
        return
    from ray.scripts.scripts import cli

    begin = words.index("--") if "--" in words else len(words)
    _parse(cli, "ray", [*words[:begin], "--", "program"])
    check(shlex.join(words[begin + 1 :]))


def _pip(words: list[str]) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in words[1:]:
        if extra := re.fullmatch(r"\.\[(\w+)\]", word):
            assert extra[1] in project["optional-dependencies"]
        elif pin := re.fullmatch(r"([\w-]+)(?:\[\w+\])?==(\S+)", word):
            assert version(pin[1]) == pin[2]


def _docker(words: list[str]) -> None:
    file = REPOSITORY / words[words.index("-f") + 1]
    assert file.is_file()
    image = (REPOSITORY / "k8s" / "image" / "kustomization.yaml").read_text(encoding="utf-8")
    name, tag = words[words.index("-t") + 1].split(":")
    assert f"name: {name}\n" in image
    assert f"newTag: {tag}\n" in image


def _kubectl(words: list[str]) -> None:
    """Folders and files to apply; the rest is `cluster_stand_in.py`'s."""
    for option in ("-k", "-f"):
        if words[0] == "apply" and option in words:
            target = words[words.index(option) + 1]
            assert target.startswith(("$", "-")) or (REPOSITORY / target).exists(), target


def _file(name: str, words: list[str]) -> None:
    path = REPOSITORY / name
    if name.startswith("bench/") and path.suffix == "":
        path = path.with_suffix(".py")
    if name == "pre-commit":
        assert version("pre-commit")
        return
    assert path.exists(), f"{name} is not there"
    if path.suffix == ".py":
        text = path.read_text(encoding="utf-8")
        for word in words:
            assert not word.startswith("--") or f'"{word}"' in text, f"{name} has no option {word}"
    if path == REPOSITORY / "scripts" / "test" and "-m" in words:
        settings = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
        assert f'"{words[words.index("-m") + 1]}: ' in settings
    for word in words:
        if "/" in word:
            assert (REPOSITORY / word).exists(), f"{word} is not there"


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "docker": _docker,
    "familiar": _familiar,
    "kubectl": _kubectl,
    "make": _make,
    "pip": _pip,
    "pre-commit": lambda words: _file("pre-commit", words),
    "python": _python,
    "ray": _ray,
}
