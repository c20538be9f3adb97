"""Ray's token, readable by this user only.

Ray makes `~/.ray/auth_token` with the process's umask, so on most machines every user could read it
and run code as this one. Here the file is made with mode 0600 in a directory of mode 0700 before
Ray looks for it, and one that Ray made earlier gets these modes. A token that comes from
RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH is the user's own affair (on Kubernetes it is a mounted
secret).
"""

from __future__ import annotations

import fcntl
import importlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from familiar.errors import ClusterError

_GIVEN = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


AUTH_MODE = "RAY_AUTH_MODE"


def want_token() -> None:
    """Turn token authentication on for this process and its children, unless RAY_AUTH_MODE says
    otherwise, and see to the token. Raises ClusterError."""
    if os.environ.setdefault(AUTH_MODE, "token") == "token":
        ensure_private_token(os.environ, Path.home())


def reread_mode() -> None:
    """Let Ray see RAY_AUTH_MODE: it reads the variable when it is imported, which may be long ago.
    Its own `ray.init` calls this as well, but not when it connects."""
    importlib.import_module("ray._raylet").Config.initialize("")


def ensure_private_token(environment: Mapping[str, str], home: Path) -> None:
    """Make Ray's token for this user, or tighten the modes of the one that is there.

    Raises ClusterError when the file belongs to another user or cannot be written.
    """
    if any(environment.get(name) for name in _GIVEN):
        return
    path = home / ".ray" / "auth_token"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(path.parent, 0o700)
        _write_once(path)
        _make_private(path, 0o600)
    except OSError as error:
        raise ClusterError(
            f"Ray's token {path} cannot be kept private: {error.strerror or error}.",
            remedy="Remove the file, or name another with RAY_AUTH_TOKEN_PATH.",
        ) from error


def _write_once(path: Path) -> None:
    """Make the token unless it is there. Starts take turns, so that all agree on one token, and a
    reader sees it complete or not at all."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists() and path.stat().st_size:
            return
        draft = path.with_name(f"{path.name}.new")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as stream:
            stream.write(secrets.token_hex(32))
        os.replace(draft, path)
    finally:
        os.close(folder)


def _make_private(path: Path, mode: int) -> None:
    found = path.stat()
    if found.st_uid != os.getuid():
        raise PermissionError(0, f"its owner is user {found.st_uid}")
    if found.st_mode & 0o777 & ~mode:
        path.chmod(mode)
