"""One rule of paths, for the workspace and for plans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familiar.path import LONGEST_PLANNED_PATH, path_problem, planned_path_problem

BAD = [
    "",
    ".",
    "..",
    "a/../b",
    "/etc/passwd",
    "a//b",
    "a/./b",
    "a\\b",
    "a\nb",
    "a\x85b",
    "a\ud800b",
    ".git/config",
    "sub/.git/hooks/x",
    "a/.GIT. /x",
    "git~1/x",
    ".git::$INDEX_ALLOCATION/x",
    ".GIT:stream",
    "x" * 256,
    "日" * 86,
]


@pytest.mark.parametrize("path", BAD)
def test_what_no_workspace_can_hold_no_plan_can_name(path: str) -> None:
    assert path_problem(path) is not None
    assert planned_path_problem(path) is not None


@pytest.mark.parametrize(
    "path",
    [
        "~/x",
        "a ",
        "a /b",
        'a"b',
        "a'b",
        "a`b",
        "a\u202eb",
        "a\u200bb",
        "a\u00a0b",
        "cafe\u0301.md",
        "\u1100\u1161.md",
        "“a”",
        "<a.md>",
        "*.md",
        "a?x=1",
        "a|b",
        "a\ufffd",
        ".familiar/token",
        ".Familiar/x",
        "a/" * 120 + "b",
    ],
)
def test_a_plan_may_not_name_what_is_the_harness_s_or_leaves_no_room(path: str) -> None:
    assert path_problem(path) is None
    assert planned_path_problem(path) is not None


@pytest.mark.parametrize(
    "path", ["index.html", "a/b/c.txt", ".gitignore", "日本.md", "a b", "x.git"]
)
def test_plain_paths_are_for_both(path: str) -> None:
    assert path_problem(path) is None
    assert planned_path_problem(path) is None


@given(st.text(max_size=LONGEST_PLANNED_PATH))
def test_the_rule_of_plans_is_never_the_laxer_one(path: str) -> None:
    if planned_path_problem(path) is None:
        assert path_problem(path) is None
