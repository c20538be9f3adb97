"""Files that a program takes up by their name are told apart from those that wait to be opened."""

from __future__ import annotations

import pytest

from familiar.acting_path import acts_by_name


@pytest.mark.parametrize(
    "path",
    [
        ".gitattributes",
        "deep/down/.gitattributes",
        ".GitModules",
        ".vscode/tasks.json",
        "pkg/.VSCode/settings.json",
        ".github/workflows/ci.yml",
        ".github./workflows/ci.yml",
        ".envrc",
        ".env.local",
        "Makefile",
        "src/GNUmakefile",
        ".husky/pre-commit",
        ".pre-commit-config.yaml",
        "conftest.py",
        "my.code-workspace",
        "lib/evil.pth",
        ".devcontainer/devcontainer.json",
        ".vscode",
        "CLAUDE.md",
        "web/package.json",
        ".hg/hgrc",
        ".ssh/authorized_keys",
        "GITATT~1",
        "VSCODE~1/tasks.json",
        ".Windsurf/rules.md",
    ],
)
def test_a_file_that_acts_by_its_name(path: str) -> None:
    assert acts_by_name(path)


@pytest.mark.parametrize(
    "path",
    [
        "page.html",
        "docs/vscode/tasks.json",
        "github/ci.yml",
        "gitattributes",
        "makefile.md",
        "environment",
        "Dockerfile",
        "CMakeLists.txt",
        "notes~draft.md",
        "env.local",
        "src/app.py",
        "日本語.md",
        "",
        "a/",
    ],
)
def test_a_file_that_waits_to_be_opened(path: str) -> None:
    assert not acts_by_name(path)
