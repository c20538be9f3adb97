"""The scripted deployment of `load.py`: plans by a word of the goal, calls of one second."""

from __future__ import annotations

import json
from typing import Any

LARGE = 2_000
WIDTH = 4096
SENTENCE = "One of the words that a scripted model writes in a second. "


def goal(kind: str, name: object = "") -> str:
    """A goal whose plan is that of `kind`: texts, files, quick, chain or large."""
    return f"Do work-{kind} {name}."


def plan(kind: str) -> str:
    count = {"quick": 1, "large": LARGE}.get(kind, 10)
    calls: list[dict[str, object]] = []
    for index in range(count):
        call: dict[str, object] = {
            "id": f"c{index}",
            "alias": "writer" if kind == "files" else "talker",
            "prompt": f"Write part {index} of the work, {kind}.",
            "depends_on": [f"c{index - 1}"] if kind == "chain" and index else [],
        }
        if kind == "files":
            call["output_file"] = f"part-{index}.md"
        calls.append(call)
    return json.dumps({"continue": False, "worker_calls": calls})


def settings() -> dict[str, Any]:
    """One planner's replica, and two replicas for calls."""
    kinds = ("texts", "files", "quick", "chain", "large")
    plans = [
        {"when": {"call": "plan-*", "contains": f"work-{kind}"}, "answer": plan(kind)}
        for kind in kinds
    ]
    fast = {"rates": {"tokens_per_delta": 100_000}}
    # A stream of four deltas, so that the engine itself costs little.
    second = {"tokens_per_s": 40, "tokens_per_delta": 10}
    text = {"template": f"# $call of $run\n\n{SENTENCE * 3}\n"}
    pool = {"engine": "scripted", "model": "scripted"}
    return {
        "pools": {
            "planner": {
                **pool,
                "replicas": [{}],
                "slots": 1024,
                "context_length": 1_000_000,
                "engine_args": {"script": {"rules": plans, "slots": 1024, **fast}},
            },
            "worker": {
                **pool,
                "slots": WIDTH,
                "replicas": [{}, {}],
                "engine_args": {"script": {"answer": text, "slots": WIDTH, "rates": second}},
            },
        },
        "aliases": {
            "orchestrator": {
                "pool": "planner",
                "parallel": 1024,
                "sampling": {"max_tokens": 500_000},
            },
            "talker": {"pool": "worker", "parallel": WIDTH},
            "writer": {"pool": "worker", "parallel": WIDTH, "mode": "output_file"},
        },
        "orchestrator": {"synthesis": False, "max_calls_per_turn": LARGE},
        "budgets": {"model_calls": 100_000},
        "cluster": {"num_cpus": 4},
    }
