"""Tokens/s into files through `output_file`, over what the engine gives by itself.

Alternating pairs: the engine alone (its deltas are counted and dropped), then the same generations
as runs whose calls write files: prompt, route, committed events, workbench, temporary file, hash,
rename, git. The clock of a run goes from its calls' first start to the last token, which is what a
stream can lose; publishing comes after the last token.

Twice: 64 scripted streams of 100 tok/s side by side, and vLLM with the embedded model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from typing import Any

import ray

from actors.engines.build import build_engine
from bench.deployment import Deployment, deployment
from bench.report import report, spread
from familiar.config.schema import PoolConfig
from familiar.engine import GenerateRequest, Message, Sampling
from familiar.event import CallSucceeded

STREAMS = 64
STOP = "\n\n"
"""A generation ends with its first paragraph: one that is cut by its length is no file."""
RATE = 100


def plan(count: int) -> str:
    calls = [
        {
            "id": f"f{index}",
            "alias": "writer",
            "prompt": f"Write part {index} of the story.",
            "depends_on": [],
            "output_file": f"part-{index}.txt",
        }
        for index in range(count)
    ]
    return json.dumps({"continue": False, "worker_calls": calls})


def settings(pool: dict[str, Any], count: int, tokens: int) -> dict[str, Any]:
    """A pool to measure, and a scripted one that plans `count` files."""
    planner = {
        "engine": "scripted",
        "model": "scripted",
        "replicas": [{}],
        "context_length": 1_000_000,
        "engine_args": {"script": {"answer": plan(count), "rates": {"tokens_per_delta": 4096}}},
    }
    return {
        "pools": {"planner": planner, "measured": pool},
        "aliases": {
            "orchestrator": {"pool": "planner", "sampling": {"max_tokens": 500_000}},
            "writer": {
                "pool": "measured",
                "mode": "output_file",
                "parallel": count,
                "sampling": {"max_tokens": tokens, "temperature": 0.8, "seed": 7, "stop": [STOP]},
            },
        },
        "orchestrator": {"synthesis": False, "max_calls_per_turn": 128},
        "cluster": {"num_cpus": 4},
    }


def through_files(target: Deployment, count: int, round_: int) -> float:
    """Tokens/s of one run, all its files together."""
    names = " ".join(f"`part-{index}.txt`" for index in range(count))
    events = target.run(f"Round {round_}: write {names}.")
    calls = [
        e.body for e in events if isinstance(e.body, CallSucceeded) and e.body.kind == "worker"
    ]
    tokens = sum(call.usage.output_tokens for call in calls)
    start = min(call.timing.started_at for call in calls)
    return tokens / (max(call.timing.ended_at for call in calls) - start)


class EngineAlone:
    """The same engine in a process of its own, idle while the deployment's works."""

    async def start(self, pool: PoolConfig) -> None:
        self._engine = build_engine(pool, pool.replicas[0], replica_id="alone:0")
        await self._engine.start()

    async def drain(self, count: int, tokens: int, round_: int) -> float:
        """Tokens/s of `count` generations side by side, their deltas dropped."""
        start = time.perf_counter()
        drawn = await asyncio.gather(*(self._one(index, tokens, round_) for index in range(count)))
        return sum(drawn) / (time.perf_counter() - start)

    async def _one(self, index: int, tokens: int, round_: int) -> int:
        request = GenerateRequest(
            request_id=f"alone-{round_}/f{index}/1",
            messages=(Message("user", f"Write part {index} of the story."),),
            sampling=Sampling(temperature=0.8, max_tokens=tokens, seed=7, stop=(STOP,)),
        )
        return sum([delta.tokens async for delta in self._engine.generate(request)])


def measure(name: str, pool: dict[str, Any], *, count: int, tokens: int, rounds: int) -> float:
    """The median ratio of `rounds` alternating pairs."""
    ratios: list[float] = []
    with deployment(settings(pool, count, tokens), ready_s=600.0) as target:
        alone_engine = ray.remote(EngineAlone).options(num_cpus=0, max_concurrency=256).remote()
        ray.get(alone_engine.start.remote(target.config.pools["measured"]))
        through_files(target, count, 0)
        for round_ in range(1, rounds + 1):
            alone = ray.get(alone_engine.drain.remote(count, tokens, round_))
            files = through_files(target, count, round_)
            ratios.append(files / alone)
            print(f"{name}: alone {alone:.1f} tok/s, into files {files:.1f} tok/s")
    print(f"{name}: into files over alone: {spread(ratios)}; goal at least 0.97")
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=1000, help="tokens of a scripted stream")
    parser.add_argument("--vllm-streams", type=int, default=4)
    parser.add_argument("--vllm-tokens", type=int, default=512)
    parser.add_argument("--only", choices=("scripted", "vllm"), help="measure one of the two")
    args = parser.parse_args()
    peers: dict[str, float] = {}
    if args.only != "vllm":
        scripted = {
            "engine": "scripted",
            "model": "scripted",
            "slots": STREAMS,
            "replicas": [{}],
            "engine_args": {
                "script": {"answer": {"tokens": args.tokens}, "rates": {"tokens_per_s": RATE}}
            },
        }
        name = f"{STREAMS} scripted streams"
        tokens = args.tokens
        peers["scripted"] = measure(
            name, scripted, count=STREAMS, tokens=tokens, rounds=args.rounds
        )
    if args.only != "scripted":
        vllm = {
            "engine": "vllm",
            "model": "embedded:smollm2",
            "slots": args.vllm_streams,
            "replicas": [{"cores": [0]}],
        }
        count, tokens = args.vllm_streams, args.vllm_tokens
        peers["vllm"] = measure("vLLM", vllm, count=count, tokens=tokens, rounds=args.rounds)
    report(
        "stream",
        value=min(peers.values()),
        unit="tokens/s into files over the engine's own",
        goal=">= 0.97 each",
        peers=peers,
        settings=vars(args),
    )


if __name__ == "__main__":
    main()
