"""Which files act by their name: a program takes them up without being told to.

A model may write such a file into a person's repository only where the goal names it, because the
next `git checkout`, `make`, `direnv` or editor start would run the model's words.
"""

from __future__ import annotations

_FOLDERS = frozenset(
    [
        ".cargo",
        ".circleci",
        ".claude",
        ".codex",
        ".cursor",
        ".devcontainer",
        ".direnv",
        ".fleet",
        ".forgejo",
        ".gemini",
        ".gitea",
        ".github",
        ".gitlab",
        ".husky",
        ".idea",
        ".mvn",
        ".nvim",
        ".vim",
        ".vscode",
        ".woodpecker",
        ".yarn",
        ".zed",
    ]
)
_NAMES = frozenset(
    [
        ".bash_login",
        ".bash_logout",
        ".bash_profile",
        ".bashrc",
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
        ".lldbinit",
        ".lvimrc",
        ".mcp.json",
        ".mise.toml",
        ".npmrc",
        ".nvimrc",
        ".pdbrc",
        ".pnp.cjs",
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


def acts_by_name(path: str) -> bool:
    """Whether a program acts on the file at this relative path because of its name or folder.

    Case, and dots and blanks at a part's end, do not count: some file systems ignore them.
    """
    *folders, name = (part.lower().rstrip(". ") for part in path.split("/"))
    if any(folder in _FOLDERS for folder in folders):
        return True
    return name in _NAMES or name in _FOLDERS or name.endswith(_ENDINGS) or name.startswith(".env.")
