"""From a pool's configuration to the engine of one replica.

Each kind is imported only when it is asked for: a pool at a URL needs neither torch nor vLLM. This
runs in the replica's process and is where a URL's key is read.
"""

from __future__ import annotations

import os

from cluster.key_files import KEYS, find_key
from familiar.config.schema import PoolConfig, ReplicaConfig
from familiar.engine import Engine
from familiar.errors import ConfigError
from familiar.secret import Secret


def build_engine(pool: PoolConfig, replica: ReplicaConfig, *, replica_id: str) -> Engine:
    """An engine that is not started yet. Raises ConfigError."""
    if pool.engine == "scripted":
        from actors.engines.scripted import ScriptedEngine

        unknown = sorted(set(pool.engine_args) - {"script"})
        if unknown:
            raise ConfigError(
                f"A scripted pool takes engine_args.script only, not {', '.join(unknown)}.",
                where="engine_args",
            )
        return ScriptedEngine(
            pool.engine_args.get("script"),
            context_length=pool.context_length,
            replica_id=replica_id,
        )
    if pool.engine == "openai":
        from actors.engines.openai import OpenAIEngine

        if replica.url is None:
            raise ConfigError(f"Replica {replica_id} has no url.", where="url")
        return OpenAIEngine(
            replica.url,
            pool.model,
            api_key=_key(pool, replica_id),
            engine_args=pool.engine_args,
            thinking=pool.thinking,
            replica_id=replica_id,
            alone=len(pool.replicas) == 1,
        )
    from actors.engines.vllm import VllmEngine
    from actors.engines.weights import resolve_model

    return VllmEngine(
        resolve_model(pool.model),
        context_length=pool.context_length,
        engine_args=pool.engine_args,
        cores=tuple(replica.cores),
        replica_id=replica_id,
        thinking=pool.thinking,
    )


def _key(pool: PoolConfig, replica_id: str) -> Secret | None:
    if pool.api_key_env is None:
        return None
    key = find_key(pool.api_key_env, os.environ)
    if not key:
        raise ConfigError(
            f"Replica {replica_id} needs a key and {pool.api_key_env} is not set.",
            where="api_key_env",
            remedy=f"Set {pool.api_key_env} where the deployment is started; on a cluster, on the "
            f"replica's node: the variable, or a file of that name in the directory {KEYS}.",
        )
    return key
