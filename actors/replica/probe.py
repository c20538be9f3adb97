"""Evidence that is there only right after a call failed.

A deadline says that tokens did not come in time. Whether the backend was there, worked for others,
and whether its node still answers, is known only then, so it is recorded with the failure.
Everything is bounded and nothing raises: a probe that gets no answer is evidence as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import ray
from pydantic import JsonValue
from ray.exceptions import ActorDiedError, RayError

PROBE_S = 2.0
CONNECT_S = 1.0


async def probe_replica(handle: Any) -> dict[str, JsonValue]:
    """How the engine behind a replica is: `probe` is ok, failed, no answer, or process gone."""
    if handle is None:
        return {"probe": "process gone"}
    began = time.monotonic()
    found: dict[str, JsonValue] = {"probe": "no answer"}
    try:
        async with asyncio.timeout(PROBE_S):
            health, stats = await handle.probe.remote()
        found = {
            "probe": "ok" if health.ok else "failed",
            "engine_tokens_per_s": round(stats.tokens_per_s, 2),
            "engine_running": stats.running,
            "engine_waiting": stats.waiting,
        }
        if health.reason:
            found["probe_reason"] = health.reason[:300]
    except ActorDiedError:
        found = {"probe": "process gone"}
    except (RayError, TimeoutError):
        pass
    found["probe_s"] = round(time.monotonic() - began, 3)
    return found


async def probe_node(node_id: str) -> dict[str, JsonValue]:
    """Whether the node answers: `node` is alive or gone. Ray itself notices a dead node only after
    several missed checks, so its raylet is asked for a connection; nothing for an unknown node."""
    if not node_id:
        return {}
    with contextlib.suppress(RayError, TimeoutError):
        async with asyncio.timeout(PROBE_S):
            nodes = await asyncio.to_thread(ray.nodes)
        known = next((node for node in nodes if node["NodeID"] == node_id), None)
        if known is None:
            return {}
        told: dict[str, JsonValue] = {"node_id": node_id}
        if not known["Alive"]:
            return told | {"node": "gone", "node_reason": "Ray has marked it dead"}
        host, port = known["NodeManagerAddress"], known["NodeManagerPort"]
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(host, port)
            writer.close()
        except (OSError, TimeoutError):
            return told | {"node": "gone", "node_reason": f"its raylet at port {port} is not there"}
        return told | {"node": "alive"}
    return {}
