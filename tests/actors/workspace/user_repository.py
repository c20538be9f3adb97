"""A user's repository, publications into it, and git as the user has it."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from actors.workspace.actor import WorkspaceActor
from familiar.call import CallKey, Publication


def git(root: Path, *args: str, code: int = 0) -> str:
    identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"]
    allowed = ["-c", "protocol.file.allow=always"]
    done = subprocess.run(
        ["git", *identity, *allowed, *args], cwd=root, check=False, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stdout.rstrip("\n")


def user_repository(tmp_path: Path) -> Path:
    made = tmp_path / "repository"
    made.mkdir()
    git(made, "init", "-q", "-b", "main")
    (made / "docs").mkdir()
    for name in ("run.sh", "page.md", "docs/in.md"):
        (made / name).write_text(f"{name}\n")
    (made / "run.sh").chmod(0o755)
    git(made, "add", ".")
    git(made, "commit", "-q", "-m", "first")
    return made


async def publish(root: Path, path: str, text: str, call: str = "c") -> str:
    publisher = WorkspaceActor()
    publication = Publication(
        key=CallKey("run", call, 1),
        epoch=1,
        workspace=str(root),
        path=path,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        text=text,
        alias="grandpa",
    )
    return (await publisher.publish(publication)).commit


def sparse_index(root: Path) -> None:
    (root / "big").mkdir()
    (root / "big/far.md").write_text("far\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "big")
    git(root, "sparse-checkout", "set", "--cone", "--sparse-index", "docs")


def ignored(root: Path) -> None:
    (root / ".git/info/exclude").write_text("docs/\n*.md\n")
