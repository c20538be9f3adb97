"""Users of a deployment in a shared Ray: each job and each `serve` holds a lease while it works.

A lease is a named actor that Ray ends with the process that made it, also after `kill -9`. So the
leases that exist are those of live users, without clocks and time-outs. A deployment that lease
holders started is marked in Ray's key-value store: the user that leaves last takes it down, also
when the one that started it was killed. A deployment without the mark was started by others (a
Serve application, a program of its own) and stays.

A lease is taken before the deployment is looked for and given back before the others are counted,
so of two users that come and go at once at least one sees the other.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

_PREFIX = "lease:"
_MARK = b"ends-with-its-last-lease"


class Lease:
    """Held from its making until `leave`, or until this process is gone. Needs a Ray connection."""

    def __init__(self, namespace: str) -> None:
        import ray

        self._namespace = namespace
        self._name = f"{_PREFIX}{uuid.uuid4().hex}"
        # The actor is known by its name at once; nobody waits until its process has started.
        self._actor: Any = (
            ray.remote(_Holder)
            .options(name=self._name, namespace=namespace, num_cpus=0, max_restarts=-1)
            .remote()
        )

    def mark(self) -> None:
        """Say that the deployment ends with its last lease."""
        from ray.experimental import internal_kv

        internal_kv._internal_kv_put(_MARK, b"1", namespace=self._namespace)

    def marked(self) -> bool:
        from ray.experimental import internal_kv

        return bool(internal_kv._internal_kv_exists(_MARK, namespace=self._namespace))

    def clear(self) -> None:
        from ray.experimental import internal_kv

        internal_kv._internal_kv_del(_MARK, namespace=self._namespace)

    def others(self) -> int:
        """How many other users there are."""
        import ray

        found = ray.util.list_named_actors(all_namespaces=True)
        names = {actor["name"] for actor in found if actor["namespace"] == self._namespace}
        return sum(name.startswith(_PREFIX) and name != self._name for name in names)

    def leave(self) -> int:
        """Give the lease back; how many users are left."""
        import ray
        from ray.exceptions import RayError

        with contextlib.suppress(RayError, ValueError):
            ray.kill(self._actor, no_restart=True)
        return self.others()


class _Holder:
    """Does nothing; its life is the lease."""
