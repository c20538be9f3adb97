"""Fingerprints of running actors, by which a redeploy replaces exactly those that changed.

A fingerprint is a hash of the configuration that concerns the actor and of the code of the four
packages. The code is hashed from its files, once a process.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from familiar.config.load import config_hash
from familiar.config.schema import Config

PACKAGES = ("familiar", "cluster", "actors")


@cache
def code_hash() -> str:
    """12 hex digits over the sources that actors run."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*")):
            if file.suffix in {".py", ".md", ".ebnf", ".lark"}:
                digest.update(str(file.relative_to(root)).encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def replica_fingerprint(config: Config, pool: str, index: int) -> str:
    """Changes when this replica has to be replaced."""
    settings = config.pools[pool]
    own = settings.model_dump(mode="json", exclude={"replicas", "slots", "price"})
    own["replica"] = settings.replicas[index].model_dump(mode="json")
    text = json.dumps([own, code_hash()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def deployment_fingerprint(config: Config) -> str:
    """Changes when the orchestrator has to be replaced."""
    return f"{config_hash(config)}-{code_hash()}"
