"""Keys for the replicas of a local Ray, in files of mode 0600 instead of the environment.

The environment of `ray start` is inherited by each of its processes, so variables with credentials
are left out of it. A replica reads the one key that it needs from the directory that
`FAMILIAR_KEYS` names; on a cluster that others started, the variable may name a mounted secret. A
replica whose node has the variable of the key itself takes that one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from familiar.secret import Secret

KEYS = "FAMILIAR_KEYS"


def write_keys(directory: Path, keys: Mapping[str, Secret]) -> Path:
    """One file for each key that is not empty, below a new directory of mode 0700."""
    directory.mkdir(mode=0o700)
    for name, key in keys.items():
        if key:
            made = os.open(directory / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with open(made, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(key.reveal())
    return directory


def find_key(name: str, environment: Mapping[str, str]) -> Secret:
    """The key that is called `name`, from the variable or the file; empty where neither is."""
    if found := Secret(environment.get(name, "")):
        return found
    directory = environment.get(KEYS, "")
    if not directory or "/" in name or name in ("", ".", ".."):
        return Secret("")
    try:
        text = (Path(directory) / name).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return Secret("")
    return Secret(text)
