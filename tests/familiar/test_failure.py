"""Properties of a failure class stand in its row of `familiar.failure`, and nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

import familiar.failure
from familiar.errors import FailureClass

ROOT = Path(familiar.failure.__file__).parents[1]
PACKAGES = ("familiar", "cluster", "actors", "serve_app")


def classes_in(display: ast.Dict | ast.Set | ast.Tuple | ast.List) -> set[str]:
    """The failure classes that are keys or members of a display."""
    members = display.keys if isinstance(display, ast.Dict) else display.elts
    named = {
        member.attr
        for member in members
        if isinstance(member, ast.Attribute)
        and isinstance(member.value, ast.Name)
        and member.value.id in ("F", "FailureClass")
    }
    texts = {member.value for member in members if isinstance(member, ast.Constant)}
    return (named & FailureClass.__members__.keys()) | {c.name for c in FailureClass if c in texts}


def tables(source: str) -> list[set[str]]:
    shown = (node for node in ast.walk(ast.parse(source)))
    found = (
        classes_in(node)
        for node in shown
        if isinstance(node, ast.Dict | ast.Set | ast.Tuple | ast.List)
    )
    return [classes for classes in found if len(classes) > 1]


def test_a_table_by_class_is_seen_in_every_form() -> None:
    assert tables("x = {F.INTERNAL: 1, F.CANCELLED: 2}")
    assert tables("x = frozenset({'internal', 'cancelled'})")
    assert tables("x = y in (FailureClass.INTERNAL, FailureClass.CANCELLED)")
    assert not tables("x = {F.INTERNAL: 1}")


def test_no_other_module_keeps_a_table_by_failure_class() -> None:
    own = Path(familiar.failure.__file__)
    found = {
        str(path.relative_to(ROOT)): classes
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path != own and (classes := tables(path.read_text()))
    }
    assert found == {}
