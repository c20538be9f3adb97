"""One finding about a machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from familiar.errors import ClusterError

State = Literal["ok", "note", "missing"]
"""`note` is worth knowing and stops nothing; with something `missing` a deployment cannot run."""


@dataclass(frozen=True, slots=True)
class Check:
    """`remedy` is an instruction; empty where nothing has to be done."""

    name: str
    state: State
    detail: str
    remedy: str = ""


def ok(name: str, detail: str) -> Check:
    return Check(name, "ok", detail)


def note(name: str, detail: str, remedy: str = "") -> Check:
    return Check(name, "note", detail, remedy)


def missing(name: str, detail: str, remedy: str) -> Check:
    return Check(name, "missing", detail, remedy)


def refuse_if_missing(checks: Iterable[Check]) -> None:
    """Raise `ClusterError` that names everything missing, before minutes go into a start."""
    found = [check for check in checks if check.state == "missing"]
    if found:
        lines = "\n".join(f"  - {check.name}: {check.detail} {check.remedy}" for check in found)
        raise ClusterError(
            f"This machine lacks {len(found)} required thing(s) for this configuration:\n{lines}\n",
            remedy="`familiar doctor --config FILE` shows all checks.",
        )
