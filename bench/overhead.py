"""What the harness costs per call, beside a bare path of the same hops, stream and commits.

Ours: a submitted run whose plan is a chain of text calls, each a scripted answer of 32 deltas. From
the moment one call is ready to the moment the next one is lies one whole cycle: prompt, route,
committed dispatch, actor call, stream, committed result, fold. Bare: an actor that writes a row,
calls an actor that reads a stream of 32 deltas and joins them, and writes another row; SQLite with
synchronous=FULL and group commit in a thread, as in the recorder, but with no state, no prompt, no
plan and no projection.

Both are measured in alternating rounds in the same Ray; the ratio of medians is what counts. The
second figure is calls/s with 64 in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ray

from bench.deployment import Deployment, deployment
from bench.report import report, spread
from familiar.event import CallDispatched, CallSucceeded, Event

DELTAS = 32
WIDTH = 64


class Echo:
    """The other end of a bare actor round trip."""

    async def echo(self, value: int) -> int:
        return value


class BareReplica:
    """Streams 32 deltas inside its process and gives back the joined text."""

    async def call(self, prompt: str) -> str:
        return "".join([delta async for delta in self._stream(prompt)])

    async def _stream(self, prompt: str) -> AsyncIterator[str]:
        for index in range(DELTAS):
            await asyncio.sleep(0)
            yield f"w{index} "


class BareOrchestrator:
    """Commit, call, commit; nothing else."""

    def __init__(self, path: str, replica: Any) -> None:
        self._replica = replica
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[tuple[tuple[str, str], asyncio.Future[None]]] = SimpleQueue()
        threading.Thread(target=self._write, args=(path,), daemon=True).start()

    async def chain(self, length: int) -> list[float]:
        """Seconds of each of `length` calls, one after the other."""
        seconds = []
        for index in range(length):
            start = time.perf_counter()
            await self._call(f"chain-{index}")
            seconds.append(time.perf_counter() - start)
        return seconds

    async def wide(self, count: int, width: int) -> float:
        """Calls/s of `count` calls with `width` in flight."""
        gate = asyncio.Semaphore(width)

        async def one(index: int) -> None:
            async with gate:
                await self._call(f"wide-{index}")

        start = time.perf_counter()
        await asyncio.gather(*(one(index) for index in range(count)))
        return count / (time.perf_counter() - start)

    async def _call(self, name: str) -> None:
        prompt = json.dumps([{"role": "user", "content": name}])
        await self._commit(name, prompt)
        await self._commit(name, await self._replica.call.remote(prompt))

    async def _commit(self, name: str, text: str) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(((name, text), done))
        await done

    def _write(self, path: str) -> None:
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, name TEXT, text TEXT)")
        while True:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            database.execute("BEGIN IMMEDIATE")
            rows = [row for row, _ in batch]
            database.executemany("INSERT INTO rows (name, text) VALUES (?, ?)", rows)
            database.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._tell, [done for _, done in batch])

    @staticmethod
    def _tell(waiting: list[asyncio.Future[None]]) -> None:
        for done in waiting:
            done.set_result(None)


def plan(count: int, *, chain: bool) -> str:
    calls = [
        {
            "id": f"c{index}",
            "alias": "worker",
            "prompt": f"call number {index}",
            "depends_on": [f"c{index - 1}"] if chain and index else [],
        }
        for index in range(count)
    ]
    return json.dumps({"continue": False, "worker_calls": calls})


def settings(chain: int, wide: int) -> dict[str, Any]:
    """One replica; the planner's answers are scripted, the workers answer with 32 deltas."""
    rules = [
        {"when": {"call": "plan-*", "contains": "chain"}, "answer": plan(chain, chain=True)},
        {"when": {"call": "plan-*"}, "answer": plan(wide, chain=False)},
    ]
    planner_script = {"rules": rules, "rates": {"tokens_per_delta": 4096}}
    return {
        "pools": {
            "planner": {
                "engine": "scripted",
                "model": "scripted",
                "replicas": [{}],
                "context_length": 1_000_000,
                "engine_args": {"script": planner_script},
            },
            "worker": {
                "engine": "scripted",
                "model": "scripted",
                "slots": WIDTH,
                "replicas": [{}],
                "engine_args": {"script": {"answer": {"tokens": DELTAS}}},
            },
        },
        "aliases": {
            "orchestrator": {"pool": "planner", "sampling": {"max_tokens": 500_000}},
            "worker": {"pool": "worker", "parallel": WIDTH},
        },
        "orchestrator": {"synthesis": False, "max_calls_per_turn": 256},
        "budgets": {"model_calls": 100_000},
        "cluster": {"num_cpus": 4},
    }


def our_chain(target: Deployment) -> list[float]:
    """Seconds of each cycle of a chain, from its history."""
    ready = [
        event.body.queued_at
        for event in target.run("chain")
        if isinstance(event.body, CallDispatched) and event.body.kind == "worker"
    ]
    return [later - earlier for earlier, later in pairwise(ready)]


def our_wide(target: Deployment, runs: int) -> float:
    """Calls/s of `runs` runs side by side, 64 calls in flight in all."""
    ids = [target.submit(f"wide {index}") for index in range(runs)]
    events: list[Event] = [event for run_id in ids for event in target.wait(run_id)]
    workers = [e for e in events if getattr(e.body, "kind", "") == "worker"]
    first = min(e.body.queued_at for e in workers if isinstance(e.body, CallDispatched))
    ended = [e.at for e in workers if isinstance(e.body, CallSucceeded)]
    return len(ended) / (max(ended) - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chain", type=int, default=200, help="calls of a chain")
    parser.add_argument("--wide", type=int, default=256, help="calls of a wide run")
    parser.add_argument("--runs", type=int, default=4, help="wide runs side by side")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="fambare-") as folder,
        deployment(settings(args.chain, args.wide)) as ours,
    ):
        free = {"num_cpus": 0, "max_concurrency": 1000}
        replica = ray.remote(BareReplica).options(**free).remote()
        bare = ray.remote(BareOrchestrator).options(**free).remote(str(Path(folder) / "b"), replica)
        echo = ray.remote(Echo).options(**free).remote()
        chains: dict[str, list[float]] = {"ours": [], "bare": [], "round trip": []}
        rates: dict[str, list[float]] = {"ours": [], "bare": []}
        for round_ in range(args.rounds + 1):
            seconds = {
                "ours": our_chain(ours),
                "bare": ray.get(bare.chain.remote(args.chain)),
                "round trip": _round_trips(echo, args.chain),
            }
            rate = {
                "ours": our_wide(ours, args.runs),
                "bare": ray.get(bare.wide.remote(args.wide * args.runs, WIDTH)),
            }
            if round_ == 0:
                continue  # the first round warms both up
            for name, values in seconds.items():
                chains[name].append(statistics.median(values))
            for name, value in rate.items():
                rates[name].append(value)
    for name, medians in chains.items():
        print(f"{name:>10}: p50 of a call in ms, by round: {spread([m * 1e3 for m in medians])}")
    for name, values in rates.items():
        print(f"{name:>10}: calls/s with {WIDTH} in flight: {spread(values)}")
    ratios = [o / b for o, b in zip(chains["ours"], chains["bare"], strict=True)]
    rate_ratios = [o / b for o, b in zip(rates["ours"], rates["bare"], strict=True)]
    trips = [o / t for o, t in zip(chains["ours"], chains["round trip"], strict=True)]
    print(f"latency over bare: {spread(ratios)}; goal at most 1.3")
    print(f"throughput over bare: {spread(rate_ratios)}; goal at least 0.75")
    print(f"latency over a bare actor round trip: {spread(trips)}")
    report(
        "overhead",
        value=statistics.median(ratios),
        unit="p50 latency of a call, ratio to the bare path",
        goal="<= 1.3, and throughput ratio >= 0.75",
        peers={
            "bare_ms": statistics.median(chains["bare"]) * 1e3,
            "ours_ms": statistics.median(chains["ours"]) * 1e3,
            "throughput_ratio": statistics.median(rate_ratios),
            "ratio_to_actor_round_trip": statistics.median(trips),
        },
        settings=vars(args),
    )


def _round_trips(echo: Any, count: int) -> list[float]:
    seconds = []
    for index in range(count):
        start = time.perf_counter()
        ray.get(echo.echo.remote(index))
        seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
