"""Detached actors by name: find or list, end one, or have one that is right for the configuration.

`ensure_actor` is the one way to a named actor: it finds the actor, asks for its fingerprint, keeps
it when that is the wanted one, and otherwise ends it and creates its successor.

Ray frees a name a moment after the kill; a caller that asks for the name in between is given the
dead actor, with `get_if_exists` too. So `end_actor` waits until the name is free. All functions
block: they are for entry points and threads.

Ray starts an actor again from the constructor's arguments. It keeps those below 100 KiB with the
actor; a larger one stays with the process that made the actor, and is lost with it. `pack` cuts a
value of any size into arguments that are kept.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from familiar.errors import ClusterError

ANSWER_S = 60.0
FREE_S = 10.0
_PAUSE_S = 0.05
_KEPT_BYTES = 64 * 1024


def find_actor(name: str, namespace: str) -> Any | None:
    import ray

    try:
        return ray.get_actor(name, namespace=namespace)
    except ValueError:
        return None


def list_actors(namespace: str, prefix: str) -> dict[str, Any]:
    import ray

    found = ray.util.list_named_actors(all_namespaces=True)
    names = [actor["name"] for actor in found if actor["namespace"] == namespace]
    handles: dict[str, Any] = {}
    for name in sorted(names):
        if name.startswith(prefix) and (handle := find_actor(name, namespace)) is not None:
            handles[name] = handle
    return handles


def end_actor(actor: Any, name: str, namespace: str) -> bool:
    """Kill an actor, wait `FREE_S` seconds at most for its name; whether the name is free."""
    import ray

    ray.kill(actor, no_restart=True)
    deadline = time.monotonic() + FREE_S
    while find_actor(name, namespace) is not None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_S)
    return True


def pack(value: object) -> tuple[bytes, ...]:
    """Constructor arguments that Ray keeps with the actor; `unpack` makes the value of them."""
    data = pickle.dumps(value)
    return tuple(data[at : at + _KEPT_BYTES] for at in range(0, len(data), _KEPT_BYTES))


def unpack(packed: Iterable[bytes]) -> Any:
    """The value that was given to `pack`, by this program."""
    return pickle.loads(b"".join(packed))


def ensure_actor(
    cls: Any,
    *,
    name: str,
    namespace: str,
    fingerprint: str,
    options: Mapping[str, Any],
    arguments: Sequence[object] = (),
    keywords: Mapping[str, object] | None = None,
    answer_s: float = ANSWER_S,
    keep_silent: bool = False,
) -> Any:
    """The handle of the actor `name`, created as `cls(*arguments, **keywords)` unless it is there.

    `cls` is a class, or Ray's actor class of one, with a method `fingerprint()`. An actor that
    answers with another fingerprint, that fails to answer, or that is silent for `answer_s` seconds
    is ended first. With `keep_silent` only the first is: an actor that Ray restarts by itself is
    silent meanwhile. `options` are those of `.options(...)` that differ from actor to actor; the
    actor is detached, and Ray never repeats a call to it. Raises `ClusterError` when a
    predecessor's name does not become free.
    """
    import ray

    known = find_actor(name, namespace)
    if known is not None:
        found = _fingerprint_of(known, answer_s)
        if found == fingerprint:
            return known
        if not (found is None and keep_silent) and not end_actor(known, name, namespace):
            raise ClusterError(
                f"Actor {name} in namespace {namespace} was ended, and Ray still has its name "
                f"after {FREE_S:g} s.",
                remedy="Check the node on which it ran, then start again.",
            )
    actor_class = cls if isinstance(cls, ray.actor.ActorClass) else ray.remote(cls)
    return actor_class.options(
        name=name,
        namespace=namespace,
        lifetime="detached",
        get_if_exists=True,
        max_task_retries=0,
        # The event log says more, and Ray would keep two events for each message.
        enable_task_events=False,
        **options,
    ).remote(*arguments, **(keywords or {}))


def _fingerprint_of(actor: Any, answer_s: float) -> object | None:
    """None when there is no answer."""
    import ray

    try:
        found: object = ray.get(actor.fingerprint.remote(), timeout=answer_s)
        return found
    except ray.exceptions.RayError:
        return None
