"""Pools with their replicas, as the router sees them now."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serve_app.models.base import HttpModel


class ReplicaStats(HttpModel):
    running: int
    waiting: int
    tokens_per_s: float = Field(description="over the last few seconds, all requests together")
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int


class Replica(HttpModel):
    replica: str
    pool: str
    state: str = Field(examples=["ready", "starting", "unhealthy", "dead", "backing_off"])
    detail: str
    devices: list[str]
    node: str
    slots: int
    in_flight: int
    stats: ReplicaStats


class Pool(HttpModel):
    """One model and its replicas; `aliases` share it."""

    pool: str
    engine: str
    model: str
    aliases: list[str]
    queued: int
    replicas: list[Replica]


class PoolList(HttpModel):
    pools: list[Pool]


class Deployment(HttpModel):
    """Identity of the deployment; a client compares it with its configuration."""

    deployment: str
    version: str
    config_hash: str
    store_id: str = Field(description="id of the database that the deployment writes")


class Health(HttpModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(HttpModel):
    """The deployment accepts runs and works on them."""

    ready: Literal[True] = True
