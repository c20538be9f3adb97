"""Clients of the API, many in one event loop: submissions, followers, and other requests."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

import aiohttp

from bench.load_script import goal

OTHER_PAUSE_S = 0.1


@dataclass(slots=True)
class Posted:
    """The runs that were acknowledged, by key, and how long each answer took, in seconds."""

    seconds: list[float] = field(default_factory=list)
    by_key: dict[str, set[str]] = field(default_factory=dict)
    hung_up: int = 0

    @property
    def run_ids(self) -> list[str]:
        return sorted({run_id for runs in self.by_key.values() for run_id in runs})


async def post_all(
    url: str, *, count: int, width: int, kind: str = "quick", seed: int | None = None
) -> Posted:
    """Submit `count` goals, `width` at once. With a seed, clients hang up at random and some send
    the same key again."""
    posted = Posted()
    chance = None if seed is None else random.Random(seed)
    gate = asyncio.Semaphore(width)
    mark = f"{time.time_ns():x}"

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        key = f"{mark}-{number}"
        async with gate:
            if chance is not None:
                for _ in range(chance.choice((0, 0, 1, 1, 2))):
                    await _post(session, url, goal(kind, key), key, posted, chance.random() * 0.6)
            await _post(session, url, goal(kind, key), key, posted, None)

    async with _session() as session:
        await asyncio.gather(*(one(session, number) for number in range(count)))
    return posted


async def _post(
    session: aiohttp.ClientSession,
    url: str,
    text: str,
    key: str,
    posted: Posted,
    patience_s: float | None,
) -> None:
    """One submission. With `patience_s` the client hangs up after that time; without it the
    answer is waited for, and a 503 is sent again."""
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(patience_s):
            while True:
                headers = {"Idempotency-Key": key}
                async with session.post(
                    f"{url}/v1/runs", json={"goal": text}, headers=headers
                ) as answer:
                    found = await answer.json()
                if answer.status != 503:
                    break
                await asyncio.sleep(0.2)
    except TimeoutError:
        posted.hung_up += 1
        return
    if answer.status not in (200, 202):
        raise RuntimeError(f"{answer.status}: {found}")
    posted.seconds.append(time.perf_counter() - begun)
    posted.by_key.setdefault(key, set()).add(found["run_id"])


@dataclass(slots=True)
class Followed:
    """`seconds` from the first submission to the last follower's end; `cut` counts streams that
    stopped without one."""

    run_ids: list[str]
    seconds: float = 0.0
    cut: int = 0
    others: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)


async def follow_all(url: str, *, runs: int, followers: int) -> Followed:
    """Submit `runs` runs of ten seconds, follow them with `followers` streams in all, and ask
    other things meanwhile."""
    begun = time.perf_counter()
    posted = await post_all(url, count=runs, width=runs, kind="chain")
    followed = Followed(posted.run_ids)
    async with _session() as session:

        async def one(number: int) -> None:
            run_id = posted.run_ids[number % runs]
            async with session.get(f"{url}/v1/runs/{run_id}/events") as stream:
                last = b""
                async for line in stream.content:
                    last = line if line.startswith(b"event:") else last
            followed.cut += last.strip() != b"event: end"

        asked = [
            asyncio.create_task(_ask(session, f"{url}/v1/runs", followed.others)),
            asyncio.create_task(_ask(session, f"{url}/healthz", followed.health)),
            asyncio.create_task(_ask(session, f"{url}/readyz", followed.health)),
        ]
        await asyncio.gather(*(one(number) for number in range(followers)))
        followed.seconds = time.perf_counter() - begun
        for task in asked:
            task.cancel()
    return followed


async def _ask(session: aiohttp.ClientSession, url: str, seconds: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        async with session.get(url) as answer:
            await answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url}: {answer.status}")
        seconds.append(time.perf_counter() - begun)
        await asyncio.sleep(OTHER_PAUSE_S)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=600)
    )
