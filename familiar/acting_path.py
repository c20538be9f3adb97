"""Which files act by their name: a program takes them up without being told to.

A model may write such a file into a person's repository only where the goal names it, because the
next `git checkout`, `make`, `npm install`, `pytest`, `direnv`, shell, editor or coding agent that a
person starts there, for a reason of their own, would run or obey the model's words. Files that a
program reads only as the thing that it was asked to build (`Dockerfile`, `CMakeLists.txt`) are not
in the list.
"""

from __future__ import annotations

import re

_FOLDERS = frozenset(
    [
        ".cargo",
        ".circleci",
        ".claude",
        ".clinerules",
        ".codex",
        ".continue",
        ".cursor",
        ".devcontainer",
        ".direnv",
        ".fleet",
        ".forgejo",
        ".gemini",
        ".gitea",
        ".github",
        ".gitlab",
        ".hg",
        ".husky",
        ".idea",
        ".jj",
        ".kiro",
        ".mvn",
        ".nvim",
        ".opencode",
        ".roo",
        ".ssh",
        ".vim",
        ".vscode",
        ".windsurf",
        ".woodpecker",
        ".yarn",
        ".zed",
    ]
)
_NAMES = frozenset(
    [
        ".aider.conf.yml",
        ".bash_login",
        ".bash_logout",
        ".bash_profile",
        ".bashrc",
        ".cursorrules",
        ".drone.yml",
        ".editorconfig",
        ".env",
        ".envrc",
        ".eslintrc.cjs",
        ".eslintrc.js",
        ".exrc",
        ".gdbinit",
        ".gitattributes",
        ".gitconfig",
        ".gitignore",
        ".gitlab-ci.yml",
        ".gitmodules",
        ".inputrc",
        ".lefthook.yml",
        ".lldbinit",
        ".lvimrc",
        ".mcp.json",
        ".mise.toml",
        ".npmrc",
        ".nvimrc",
        ".pdbrc",
        ".pnp.cjs",
        ".pnpmfile.cjs",
        ".pre-commit-config.yaml",
        ".pre-commit-hooks.yaml",
        ".prettierrc.js",
        ".profile",
        ".pypirc",
        ".pythonstartup",
        ".ripgreprc",
        ".tool-versions",
        ".travis.yml",
        ".vimrc",
        ".windsurfrules",
        ".yarnrc",
        ".yarnrc.yml",
        ".zlogin",
        ".zprofile",
        ".zshenv",
        ".zshrc",
        "agents.md",
        "appveyor.yml",
        "azure-pipelines.yml",
        "bitbucket-pipelines.yml",
        "build.rs",
        "claude.md",
        "conftest.py",
        "gemini.md",
        "gnumakefile",
        "jenkinsfile",
        "justfile",
        "lefthook.yml",
        "makefile",
        "mise.toml",
        "noxfile.py",
        "package.json",
        "rakefile",
        "setup.py",
        "sitecustomize.py",
        "taskfile.yml",
        "tox.ini",
        "usercustomize.py",
        "vagrantfile",
    ]
)
_ENDINGS = (".code-workspace", ".pth")
_SHORT = re.compile(r"[^.~]{1,6}~\d")
"""A name of eight characters, under which some file systems know a longer one: `GITATT~1`."""


def acts_by_name(path: str) -> bool:
    """Whether a program acts on the file at this relative path because of its name or folder.

    Case, and dots and blanks at a part's end, do not count: some file systems ignore them.
    """
    *folders, name = (part.lower().rstrip(". ") for part in path.split("/"))
    if any(folder in _FOLDERS for folder in folders):
        return True
    if any(_SHORT.match(part) for part in (*folders, name)):
        return True
    return name in _NAMES or name in _FOLDERS or name.endswith(_ENDINGS) or name.startswith(".env.")
