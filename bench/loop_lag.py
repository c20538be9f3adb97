"""The lag of an actor's event loop, measured from inside: a task that sleeps and notes how late it
wakes. The actor needs no code for it; Ray runs a function in it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import ray

SLEEP_S = 0.01


def start(actor: Any) -> None:
    """Begin to measure, or begin anew."""
    ray.get(actor.__ray_call__.remote(_start))


def take(actor: Any) -> list[float]:
    """The lags since `start`, in seconds, one for each 10 ms that the loop was free."""
    lags: list[float] = ray.get(actor.__ray_call__.remote(_take))
    return lags


def _start(actor: Any) -> None:
    lags: list[float] = []

    async def measure() -> None:
        while actor.bench_lags is lags:
            before = time.perf_counter()
            await asyncio.sleep(SLEEP_S)
            lags.append(time.perf_counter() - before - SLEEP_S)

    def begin() -> None:
        # The reference keeps the task alive.
        actor.bench_task = loop.create_task(measure())

    actor.bench_lags = lags
    loop = actor._started.get_loop()
    loop.call_soon_threadsafe(begin)


def _take(actor: Any) -> list[float]:
    lags: list[float] = actor.bench_lags
    actor.bench_lags = None
    return lags
