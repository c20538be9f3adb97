"""The cost of the harness per call, beside a bare path of the same hops, stream and commits.

Ours: a submitted run whose plan is a chain of text calls, each a scripted answer of 32 deltas.
Bare: an actor that commits, calls an actor that reads a stream of 32 deltas and joins them, and
commits again; in a database of the same tables, the same rows for each call, synchronous=FULL and
group commit in a thread as in the recorder, but with no state, no prompt, no plan, no event model.
Its hops are Ray actor calls, as in any Ray program and as ours are.

The latency of a call goes from its dispatch to its committed result. Our histories do not hold when
a result was on the disk; but the next call of the chain is queued only after that, so the time ends
there. This is a little more than the commit: the fold and the choice of the next call are in it.
The cycle from one dispatch of the chain to the next is printed as well.

All are measured in alternating rounds in the same Ray; the ratio of medians is what counts. The
second figure is calls/s with 64 in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ray

from actors.store.store import Store
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
        self._seq = 0
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[tuple[Rows, asyncio.Future[None]]] = SimpleQueue()
        threading.Thread(target=self._write, args=(path,), daemon=True).start()

    async def chain(self, length: int) -> list[float]:
        """Seconds of each of `length` calls, one after the other."""
        return [await self._call(f"chain-{index}") for index in range(length)]

    async def wide(self, count: int, width: int) -> float:
        """Calls/s of `count` calls with `width` in flight."""
        gate = asyncio.Semaphore(width)

        async def one(index: int) -> None:
            async with gate:
                await self._call(f"wide-{index}")

        start = time.perf_counter()
        await asyncio.gather(*(one(index) for index in range(count)))
        return count / (time.perf_counter() - start)

    async def _call(self, name: str) -> float:
        start = time.perf_counter()
        self._seq += 2
        seq = self._seq
        name = f"{name}-{seq}"
        prompt = json.dumps([{"role": "user", "content": name}])
        await self._commit(dispatched(name, seq - 1, prompt))
        text = await self._replica.call.remote(prompt)
        await self._commit(succeeded(name, seq, text))
        return time.perf_counter() - start

    async def _commit(self, rows: Rows) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((rows, done))
        await done

    def _write(self, path: str) -> None:
        Store.open(f"sqlite:///{path}", create=True).close()
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA synchronous=FULL")
        while True:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            statements: dict[str, list[tuple[object, ...]]] = {}
            for rows, _ in batch:
                for sql, values in rows:
                    statements.setdefault(sql, []).append(values)
            database.execute("BEGIN IMMEDIATE")
            for sql, group in statements.items():
                database.executemany(sql, group)
            database.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._tell, [done for _, done in batch])

    @staticmethod
    def _tell(waiting: list[asyncio.Future[None]]) -> None:
        for done in waiting:
            done.set_result(None)


Rows = list[tuple[str, tuple[object, ...]]]
BODY = "x" * 400


def row(table: str, **values: object) -> tuple[str, tuple[object, ...]]:
    """A row by the names of its columns, as a statement and its values."""
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    return f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", tuple(values.values())


def change(table: str, run: str, call: str, **values: object) -> tuple[str, tuple[object, ...]]:
    """New values in the row of a call."""
    names = ", ".join(f"{name} = ?" for name in values)
    where = "run_id = ? AND call_id = ?"
    return f"UPDATE {table} SET {names} WHERE {where}", (*values.values(), run, call)


def dispatched(name: str, seq: int, prompt: str) -> Rows:
    """The rows of a dispatch, by hand."""
    sha = hashlib.sha256(prompt.encode()).hexdigest()
    key: dict[str, object] = {"run_id": "bare", "call_id": name}
    call = {
        **key,
        "kind": "worker",
        "status": "running",
        "turn": 1,
        "alias": "worker",
        "attempt": 1,
    }
    times = {"queued_at": 1.0, "dispatched_at": 1.0}
    asked = {"prompt_sha256": sha, "prompt_size": len(prompt), "prompt_name": "bare"}
    sent = {"pool": "bare", "replica": "bare:0", "mode": "text", "devices": "[]"}
    place = {"run_id": "bare", "seq": seq, "at": 1.0}
    return [
        row("events", **place, epoch=1, type="call.dispatched", body=BODY),
        row("texts", sha256=sha, size=len(prompt), body=prompt.encode()),
        row("worker_calls", **call),
        row("model_calls", **call, **times, **asked, **sent),
        row("decisions", **place, kind="route", choice="bare:0", reasons="[]", detail="{}"),
    ]


def succeeded(name: str, seq: int, text: str) -> Rows:
    """The rows of a result, by hand."""
    sha = hashlib.sha256(text.encode()).hexdigest()
    times = {"started_at": 1.0, "first_token_at": 1.0, "ended_at": 1.0, "longest_gap_s": 0.0}
    usage = {"prompt_tokens": 10, "output_tokens": DELTAS, "cached_tokens": 0}
    made = {"raw_sha256": sha, "raw_size": len(text), "text_sha256": sha, "text_size": len(text)}
    over = {"status": "succeeded", "repairs": "[]"}
    return [
        row("events", run_id="bare", seq=seq, at=1.0, epoch=1, type="call.succeeded", body=BODY),
        row("texts", sha256=sha, size=len(text), body=text.encode()),
        change("worker_calls", "bare", name, status="succeeded"),
        change("model_calls", "bare", name, **times, **usage, **made, **over),
    ]


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


@dataclass(frozen=True, slots=True)
class OurTimes:
    """Seconds, of the calls of one chain but the last: to the committed result, at most, and from
    one dispatch to the next."""

    to_committed: list[float]
    cycles: list[float]


def our_chain(target: Deployment) -> OurTimes:
    """The times of one run, from its history."""
    events = [e for e in target.run("chain") if getattr(e.body, "kind", "") == "worker"]
    sent = [e.at for e in events if isinstance(e.body, CallDispatched)]
    queued = [e.body.queued_at for e in events if isinstance(e.body, CallDispatched)]
    return OurTimes(
        [after - start for start, after in zip(sent, queued[1:], strict=False)],
        [later - earlier for earlier, later in pairwise(sent)],
    )


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
        chains: dict[str, list[float]] = {
            name: [] for name in ("ours", "bare", "cycle", "round trip")
        }
        rates: dict[str, list[float]] = {"ours": [], "bare": []}
        for round_ in range(args.rounds + 1):
            our_times = our_chain(ours)
            seconds = {
                "ours": our_times.to_committed,
                "cycle": our_times.cycles,
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
        print(f"{name:>15}: p50 of a call in ms, by round: {spread([m * 1e3 for m in medians])}")
    for name, values in rates.items():
        print(f"{name:>15}: calls/s with {WIDTH} in flight: {spread(values)}")
    latency = ratios(chains["ours"], chains["bare"])
    cycle = ratios(chains["cycle"], chains["bare"])
    throughput = ratios(rates["ours"], rates["bare"])
    trips = ratios(chains["ours"], chains["round trip"])
    print(f"latency over bare: {spread(latency)}; goal at most 2.0")
    print(f"cycle of a chain over a bare call: {spread(cycle)}")
    print(f"throughput over bare: {spread(throughput)}; goal at least 0.75")
    print(f"latency over a bare actor round trip: {spread(trips)}")
    report(
        "overhead",
        value=statistics.median(latency),
        unit="p50 latency of a call, ratio to the bare path",
        goal="<= 2.0, and throughput ratio >= 0.75",
        peers={
            "bare_ms": statistics.median(chains["bare"]) * 1e3,
            "ours_ms": statistics.median(chains["ours"]) * 1e3,
            "cycle_ratio": statistics.median(cycle),
            "throughput_ratio": statistics.median(throughput),
            "ratio_to_actor_round_trip": statistics.median(trips),
        },
        settings=vars(args),
    )


def ratios(ours: list[float], peer: list[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(ours, peer, strict=True)]


def _round_trips(echo: Any, count: int) -> list[float]:
    seconds = []
    for index in range(count):
        start = time.perf_counter()
        ray.get(echo.echo.remote(index))
        seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
