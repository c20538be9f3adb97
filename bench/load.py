"""A deployment under load, over HTTP and from inside, with scripted calls of one second.

    texts      1,000 runs of ten text calls, submitted at once: runs/s, latency of the submission,
               lag of the orchestrator's event loop, bytes of the database for each run
    files      the same with ten files a run, each run in a repository of its own
    posts      600 POSTs, 200 at once, after a first round that warms up
    follow     600 followers of ten-second runs: the last follower's end over the run's, other
               requests and the health routes meanwhile
    large      one plan of 2,000 calls, and `familiar show` of its run
    restart    kill -9 of the orchestrator with 5,000 finished runs in the database

The value is the rate of runs with files over that of runs with texts, from the same deployment.

    python bench/load.py [--parts texts,files] [--runs 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import ray  # noqa: E402

from actors.deploy import ensure_deployment, wait_ready  # noqa: E402
from actors.store.queries import Reader  # noqa: E402
from actors.store.store import Store  # noqa: E402
from actors.take_down import take_down  # noqa: E402
from bench import loop_lag  # noqa: E402
from bench.deployment import Deployment, served  # noqa: E402
from bench.http_load import Followed, Posted, follow_all, post_all  # noqa: E402
from bench.load_script import LARGE, goal, settings  # noqa: E402
from bench.report import report  # noqa: E402
from familiar.event import Event, RunSubmitted  # noqa: E402
from familiar.service import SubmitRun  # noqa: E402

PARTS = ("texts", "files", "posts", "follow", "large", "restart")


@dataclass(slots=True)
class Figures:
    """Everything that is printed at the end, by name."""

    values: dict[str, float] = field(default_factory=dict)

    def note(self, name: str, value: float, told: str) -> None:
        self.values[name] = value
        print(f"{name:>28}: {value:9.3f}  {told}", flush=True)


def p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else values[0]


def burst(target: Deployment, kind: str, runs: int, figures: Figures) -> None:
    """`runs` runs of ten calls of a second each, submitted at once."""
    before = size_of_database(target)
    loop_lag.start(target.orchestrator)
    started = time.perf_counter()
    waiting = {
        target.orchestrator.submit.remote(SubmitRun(goal=goal(kind, n))): None for n in range(runs)
    }
    took: list[float] = []
    ids: list[str] = []
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1, timeout=60)
        for ref in done:
            took.append(time.perf_counter() - started)
            ids.append(ray.get(ref).run_id)
            del waiting[ref]
    rows = target.wait_all(ids, timeout_s=1_200)
    lags = loop_lag.take(target.orchestrator)
    seconds = max(row.ended_at or 0.0 for row in rows) - min(row.submitted_at for row in rows)
    figures.note(f"{kind}_runs_per_s", runs / seconds, "runs/s")
    figures.note(f"{kind}_submit_p99", p99(took), "s from the first submission to its answer")
    figures.note(f"{kind}_loop_lag_p99", p99(lags), "s")
    figures.note(f"{kind}_loop_lag_max", max(lags), "s")
    grown = (size_of_database(target) - before) / runs / 1024
    figures.note(f"{kind}_kib_per_run", grown, "KiB of the database for each run")


def size_of_database(target: Deployment) -> int:
    """Bytes of the file and of its log."""
    path = target.config.store.url.removeprefix("sqlite:///")
    return sum(
        os.path.getsize(f"{path}{end}") for end in ("", "-wal") if os.path.exists(path + end)
    )


def posts(target: Deployment, figures: Figures) -> None:
    asyncio.run(post_all(target.url, count=200, width=200))
    loop_lag.start(target.orchestrator)
    posted: Posted = asyncio.run(post_all(target.url, count=600, width=200))
    figures.note("post_p50", statistics.median(posted.seconds), "s")
    figures.note("post_p99", p99(posted.seconds), "s, 200 at once")
    figures.note("post_loop_lag_p99", p99(loop_lag.take(target.orchestrator)), "s")
    target.wait_all(posted.run_ids, timeout_s=300)


def follow(target: Deployment, runs: int, followers: int, figures: Figures) -> None:
    followed: Followed = asyncio.run(follow_all(target.url, runs=runs, followers=followers))
    rows = target.wait_all(followed.run_ids, timeout_s=300)
    longest = max((row.ended_at or 0.0) - row.submitted_at for row in rows)
    name = f"follow_{runs}"
    figures.note(f"{name}_run", longest, "s of the longest run")
    figures.note(f"{name}_ratio", followed.seconds / longest, "the last follower's end over it")
    figures.note(f"{name}_missing", float(followed.cut), "streams without their end")
    figures.note(f"{name}_other_p99", p99(followed.others), "s, GET /v1/runs meanwhile")
    figures.note(f"{name}_health_max", max(followed.health), "s, /healthz and /readyz meanwhile")


def large(target: Deployment, figures: Figures) -> None:
    started = time.perf_counter()
    loop_lag.start(target.orchestrator)
    run_id = target.submit(goal("large"))
    target.wait_all([run_id], timeout_s=600)
    figures.note("large_run", time.perf_counter() - started, f"s, one plan of {LARGE} calls")
    figures.note("large_loop_lag_max", max(loop_lag.take(target.orchestrator)), "s")
    command = [sys.executable, "-m", "serve_app.cli", "show", run_id, "--url", target.url]
    bare = [sys.executable, "-m", "serve_app.cli", "ls", "-n", "1", "--url", target.url]
    took = [timed(command) for _ in range(3)]
    start = [timed(bare) for _ in range(3)]
    figures.note("large_show", min(took), f"s, `familiar show` of it; `ls` takes {min(start):.2f}")


def timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - started


def restart(target: Deployment, finished: int, figures: Figures) -> None:
    """Kill the orchestrator when the database has `finished` runs that have ended."""
    take_down(target.config.deployment)
    reader = Reader.open(target.config.store.url)
    some = next(run.run_id for run in reader.list_runs(200, status="succeeded"))
    history = reader.events(some, limit=1_000)
    counts = reader.totals().runs
    reader.close()
    store = Store.open(target.config.store.url, create=False)
    epoch = store.take_epoch()
    for batch in copies(history, finished - sum(counts.values()), epoch):
        store.append(batch, {})
    store.close()
    orchestrator = ensure_deployment(target.config)
    wait_ready(orchestrator, timeout_s=120)
    os.kill(ray.get(orchestrator.pid.remote()), signal.SIGKILL)
    started = time.perf_counter()
    wait_ready(orchestrator, timeout_s=120)
    figures.note("restart", time.perf_counter() - started, f"s, {finished} finished runs")


def copies(history: Sequence[Event], count: int, epoch: int) -> Iterator[list[Event]]:
    """`history` as that of `count` other runs, some at a time."""
    batch: list[Event] = []
    for number in range(count):
        for event in history:
            body = event.body
            if isinstance(body, RunSubmitted):
                new = {"session_id": f"s-copy{number}", "idempotency_key": None}
                body = body.model_copy(update=new)
            batch.append(replace(event, run_id=f"r-copy{number}", epoch=epoch, body=body))
        if len(batch) > 500:
            yield batch
            batch = []
    if batch:
        yield batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--runs", type=int, default=1_000, help="runs at once")
    parser.add_argument("--followers", type=int, default=600)
    parser.add_argument("--finished", type=int, default=5_000, help="finished runs at a restart")
    args = parser.parse_args()
    figures = Figures()
    with served(settings()) as target:
        parts: dict[str, Any] = {
            "texts": partial(burst, target, "texts", args.runs),
            "files": partial(burst, target, "files", args.runs),
            "posts": partial(posts, target),
            "follow": partial(follow, target, 60, args.followers),
            "large": partial(large, target),
            "restart": partial(restart, target, args.finished),
        }
        for name in args.parts.split(","):
            parts[name](figures)
    found = figures.values
    texts, files = found.get("texts_runs_per_s", 0.0), found.get("files_runs_per_s", 0.0)
    report(
        "load",
        value=files / texts if texts else 0.0,
        unit="runs/s with files, ratio to runs/s with texts",
        goal=">= 0.4; loop lag p99 < 0.25 s with files; post p99 <= 1.5 s; follow ratio <= 1.3, "
        "others p99 < 1 s and health < 1 s meanwhile",
        peers=found,
        settings={"runs": args.runs, "followers": args.followers, "finished": args.finished},
    )


if __name__ == "__main__":
    main()
