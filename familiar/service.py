"""Requests to the orchestrator and its answers: values that cross from the API to its actor.

The orchestrator actor is named `orchestrator` in the Ray namespace `namespace_of(deployment)`; its
methods take and give these values. Reading a run's history is not among them: readers ask the
store.
"""

from __future__ import annotations

from dataclasses import dataclass

from familiar.engine import EngineStats

ORCHESTRATOR = "orchestrator"


def namespace_of(deployment: str) -> str:
    """The Ray namespace of a deployment's actors and placement groups."""
    return f"familiar-{deployment}"


@dataclass(frozen=True, slots=True)
class SubmitRun:
    """A goal to work on. Without a session a new one begins; `files` overrides the names that are
    read from the goal."""

    goal: str
    session_id: str | None = None
    idempotency_key: str | None = None
    files: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RunReceipt:
    """Given only after `run.submitted` is committed. `created` is False for a repeated key."""

    run_id: str
    session_id: str
    created: bool


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One replica as the router and a person see it. `state` is starting, ready, unhealthy, dead or
    backing_off; `detail` says why, in words."""

    replica: str
    pool: str
    state: str
    detail: str
    devices: tuple[str, ...]
    node: str
    slots: int
    in_flight: int
    stats: EngineStats


@dataclass(frozen=True, slots=True)
class PoolView:
    """One pool with its replicas and the aliases that share it."""

    pool: str
    engine: str
    model: str
    aliases: tuple[str, ...]
    queued: int
    replicas: tuple[ReplicaView, ...]


@dataclass(frozen=True, slots=True)
class CallProgress:
    """Telemetry of a running attempt: tokens so far and tokens/s since its first token."""

    call: str
    attempt: int
    alias: str
    replica: str
    tokens: int
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether runs can be worked on; `reasons` says what is still missing, one sentence each.

    `hopeless` when the start of something failed again and again: it is still attempted, and a wait
    for it is of no use. `fenced` when another orchestrator that lives owns the database."""

    ready: bool
    reasons: tuple[str, ...] = ()
    hopeless: bool = False
    fenced: bool = False
