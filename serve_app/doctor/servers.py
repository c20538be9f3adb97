"""One real call to each server that a configuration names, for the aliases that use it.

A port that takes connections tells little: calls may be rejected for a field, a name or a key, and
many servers load a model with a shorter context than the model has. Aliases of one pool send the
same small call, so it is made once for each URL of a pool; the servers are asked side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from actors.engines.openai.probe import ServerFindings, probe_server
from familiar.config.schema import Config, PoolConfig, ReplicaConfig
from serve_app.doctor.check import Check, missing, note, ok


def look_at_servers(config: Config) -> list[Check]:
    """The findings of all servers. Takes about a minute at the most."""
    asked = [
        (name, pool, replica)
        for name, pool in config.pools.items()
        if pool.engine == "openai"
        for replica in {replica.url: replica for replica in pool.replicas}.values()
    ]

    async def ask() -> list[ServerFindings]:
        return await asyncio.gather(*(probe_server(pool, replica) for _, pool, replica in asked))

    return [
        check
        for (name, pool, replica), found in zip(asked, asyncio.run(ask()), strict=True)
        for check in _checks(config, name, pool, replica, found)
    ]


def _checks(
    config: Config, name: str, pool: PoolConfig, replica: ReplicaConfig, found: ServerFindings
) -> Iterator[Check]:
    where = f"pool {name}"
    for problem in found.problems:
        yield missing(where, problem, f"Correct pools.{name}, or the server.")
    waits = "" if found.reached else "Start that server; until then the calls of this pool wait."
    for line in found.notes:
        yield note(where, line, waits)
    if found.answered and not found.problems:
        aliases = [alias for alias, row in config.aliases.items() if row.pool == name]
        length = f"{found.context_length} tokens" if found.context_length else "of unknown length"
        yield ok(
            where,
            f"{replica.url} answered a call as {found.served_model or pool.model}, context "
            f"{length}; for {', '.join(aliases) or 'no alias'}",
        )
