"""The programs, options and files of every command that a page shows exist. `test_readme.py` runs
those of README.md.

`k8s/README.md` has a test of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.check import REPOSITORY, check
from tests.docs.markdown import FENCE, PROGRAMS, blocks, commands, in_sentences

PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "examples").rglob("README.md")),
    *sorted((REPOSITORY / "familiar").rglob("README.md")),
]
RUN_IN_TESTS = ("make demo", "make test", "make field-study", "ray job submit")
"""Of these, `tests/serve_app` and CI run what the target runs, and `test_readme.py` the rest."""


def every_command() -> Iterator[tuple[str, tuple[str, bool]]]:
    """Each command, and whether it is a whole one, by the name of its test."""
    for page in PAGES:
        name = page.relative_to(REPOSITORY)
        found = [command for block in blocks(page) for command in commands(block)]
        for command in found + in_sentences(page):
            run = command.startswith(RUN_IN_TESTS)
            run |= name == Path("README.md") and command in found
            yield (
                f"{name}, {'run elsewhere' if run else 'not run'}: {command}",
                (command, command in found),
            )


EVERY = dict(every_command())


@pytest.mark.parametrize(("command", "whole"), EVERY.values(), ids=EVERY.keys())
def test_the_parts_of_a_command_exist(command: str, whole: bool) -> None:
    check(command, whole=whole)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_stand_in_blocks_marked_sh(page: Path) -> None:
    for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if language != "sh":
            assert not [line for line in text.splitlines() if line.split(" ")[0] in PROGRAMS]


@pytest.mark.parametrize(
    "command",
    [
        "make everything",
        "familiar runs",
        "familiar show",
        "familiar run --quietly",
        "kubectl apply -k k8s/nowhere",
        "python -m bench.nothing",
        "ray job submit --nowhere x -- python -m serve_app.job --config c.yaml --file goal.md",
        "ray job submit -- python -m serve_app.job --config c.yaml --files goal.md",
        "pip install '.[everything]'",
        "docker build -f k8s/Dockerfile -t familiar:9 .",
        "scripts/test -m unitt",
        "helm install familiar",
    ],
)
def test_a_wrong_command_is_found(command: str) -> None:
    with pytest.raises(Exception, match=r"^"):
        check(command)
