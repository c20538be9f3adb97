"""Differences between two runs, figure by figure.

Both digests are laid side by side; figures that are equal are left out. A ratio is given where both
are numbers, because "3 times the tokens" is what a person wants to read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeGuard

from familiar.event import Event
from familiar.explain.digest import SECTIONS, RunDigest, digest
from familiar.explain.explanation import Figure


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that differs; None where a run has no such figure. `ratio` is b over a."""

    section: str
    name: str
    a: Figure | None
    b: Figure | None
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class RunDiff:
    """Two runs and their differences, in the order of `SECTIONS`. `same` names the sections without
    one."""

    a: RunDigest
    b: RunDigest
    differences: tuple[Difference, ...]
    same: tuple[str, ...]


def diff(a: Iterable[Event], b: Iterable[Event]) -> RunDiff:
    """Compare two histories."""
    return diff_digests(digest(a), digest(b))


def diff_digests(a: RunDigest, b: RunDigest) -> RunDiff:
    """Compare two digests."""
    found: list[Difference] = []
    same: list[str] = []
    for section in SECTIONS:
        ours, theirs = a.sections.get(section, {}), b.sections.get(section, {})
        names = dict.fromkeys((*ours, *theirs))
        rows = [
            _difference(section, name, ours.get(name), theirs.get(name))
            for name in names
            if ours.get(name) != theirs.get(name)
        ]
        found += rows
        if not rows:
            same.append(section)
    return RunDiff(a, b, tuple(found), tuple(same))


def _difference(section: str, name: str, a: Figure | None, b: Figure | None) -> Difference:
    ratio = None
    if _is_number(a) and _is_number(b) and a:
        ratio = round(b / a, 3)
    return Difference(section, name, a, b, ratio)


def _is_number(value: Figure | None) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
