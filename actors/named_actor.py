"""Detached actors by name: find one, and end one so that its name is free for its successor.

Ray frees a name a moment after the kill; whoever asks for the name in between is given the dead
actor, with `get_if_exists` too. Both functions block: they are for entry points and threads.
"""

from __future__ import annotations

import time
from typing import Any

import ray

FREE_S = 10.0
_PAUSE_S = 0.05


def find_actor(name: str, namespace: str) -> Any | None:
    """The handle of a named actor, or None."""
    try:
        return ray.get_actor(name, namespace=namespace)
    except ValueError:
        return None


def end_actor(actor: Any, name: str, namespace: str) -> None:
    """Kill an actor and wait until its name is free, `FREE_S` seconds at most."""
    ray.kill(actor, no_restart=True)
    deadline = time.monotonic() + FREE_S
    while find_actor(name, namespace) is not None and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
