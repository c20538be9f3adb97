"""Dataflow against waves: a chain of 0.1 s and 0.9 s beside one call of 1.0 s.

A scheduler that waits for the slowest call of a level before it starts the next one needs 1.9 s;
one that starts a call as soon as its own dependencies have ended needs 1.0 s. Ours goes the whole
way: a submitted run, a scripted model plan, routing, real replica actors, committed events. Beside
it, in the same run: LangGraph, whose supersteps are waves, and a thread pool that is used in waves.

The figure is makespan over the ideal of 1.0 s, from the first call's start to the last one's end.
For ours the clock runs from the accepted plan to the last committed result.
"""

from __future__ import annotations

import argparse
import json
import operator
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph

from bench.deployment import Deployment, deployment
from bench.report import report, spread
from familiar.event import CallSucceeded, PlanAccepted

SECONDS = {"short": 0.1, "after": 0.9, "long": 1.0}
IDEAL_S = 1.0


def plan() -> str:
    calls = [
        {
            "id": name,
            "alias": "worker",
            "prompt": f"sleep {name}",
            "depends_on": ["short"] if name == "after" else [],
        }
        for name in SECONDS
    ]
    return json.dumps({"continue": False, "worker_calls": calls})


def settings() -> dict[str, Any]:
    rules = [{"when": {"call": "plan-*"}, "answer": plan()}] + [
        {
            "when": {"call": name},
            "answer": {"tokens": 1},
            "rates": {"ttft_s": seconds},
        }
        for name, seconds in SECONDS.items()
    ]
    pool = {
        "engine": "scripted",
        "model": "scripted",
        "replicas": [{}, {}],
        "context_length": 100_000,
        "engine_args": {"script": {"rules": rules}},
    }
    return {
        "pools": {"models": pool},
        "aliases": {"orchestrator": {"pool": "models"}, "worker": {"pool": "models"}},
        "orchestrator": {"synthesis": False},
        "cluster": {"num_cpus": 4},
    }


def ours(target: Deployment) -> float:
    events = target.run("barrier")
    planned = next(event.at for event in events if isinstance(event.body, PlanAccepted))
    done = max(event.at for event in events if isinstance(event.body, CallSucceeded))
    return done - planned


class Trace(TypedDict):
    names: Annotated[list[str], operator.add]


def langgraph() -> float:
    """The same graph; a superstep ends when its slowest node has ended."""

    def node(name: str) -> Any:
        def work(_: Trace) -> Trace:
            time.sleep(SECONDS[name])
            return {"names": [name]}

        return work

    graph = StateGraph(Trace)
    for name in SECONDS:
        graph.add_node(name, node(name))
    for edge in ((START, "short"), (START, "long"), ("short", "after"), ("after", END)):
        graph.add_edge(*edge)
    graph.add_edge("long", END)
    compiled = graph.compile()
    start = time.perf_counter()
    compiled.invoke({"names": []})
    return time.perf_counter() - start


def waves() -> float:
    """A thread pool, one level of the graph after the other."""
    start = time.perf_counter()
    with ThreadPoolExecutor(max_workers=4) as pool:
        for level in (("short", "long"), ("after",)):
            list(pool.map(lambda name: time.sleep(SECONDS[name]), level))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    found: dict[str, list[float]] = {"ours": [], "langgraph": [], "thread_pool_in_waves": []}
    with deployment(settings()) as target:
        ours(target)
        for _ in range(args.rounds):
            found["ours"].append(ours(target) / IDEAL_S)
            found["langgraph"].append(langgraph() / IDEAL_S)
            found["thread_pool_in_waves"].append(waves() / IDEAL_S)
    for name, ratios in found.items():
        print(f"{name:>22}: makespan over ideal: {spread(ratios)}")
    report(
        "barrier",
        value=statistics.median(found["ours"]),
        unit="makespan over the ideal of 1.0 s",
        goal="<= 1.03",
        peers={n: statistics.median(v) for n, v in found.items() if n != "ours"},
        settings=vars(args),
    )


if __name__ == "__main__":
    main()
