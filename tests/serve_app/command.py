"""Run `familiar` in this process and look at what it printed and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from serve_app.cli.app import app


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """stdout as one JSON document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def familiar(*words: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Ended:
    """The command with these words; a defect of it is raised here."""
    clean = {"FAMILIAR_URL": None, "FAMILIAR_KEY": None, "FAMILIAR_CONFIG": None, "COLUMNS": "160"}
    result = CliRunner().invoke(app, list(words), env={**clean, **(env or {})}, input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)
