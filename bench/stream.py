"""Tokens/s into files through `output_file`, over the tokens/s of the engine by itself.

Alternating pairs: a run whose calls write files (prompt, route, committed events, workspace
process, temporary file, hash, rename, git), then the engine alone with the same prompts, sampling
and seeds, its deltas counted and dropped. The clock of a run goes from its calls' first start to
the last token, the time that a stream can lose; publishing comes after the last token.

Twice: 64 scripted streams of 100 tok/s side by side, and vLLM with the embedded model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from actors.engines.build import build_engine
from bench.deployment import Deployment, deployment
from bench.report import report, spread
from familiar.brief import read_messages, sampling_of
from familiar.config.schema import PoolConfig
from familiar.engine import GenerateRequest, Message, Sampling
from familiar.event import CallDispatched, CallFailed, CallSucceeded

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


@dataclass(frozen=True, slots=True)
class Written:
    """The output of a run: tokens/s of all its files together, and the prompts they came from."""

    tokens: int
    tokens_per_s: float
    prompts: tuple[tuple[Message, ...], ...]


def through_files(target: Deployment, count: int, round_: int) -> Written:
    """One run. A text that is rejected as a file was streamed like any other; the attempt that
    follows it is no part of the pair."""
    names = " ".join(f"`part-{index}.txt`" for index in range(count))
    events = target.run(f"Round {round_}: write {names}.")
    bodies = [e.body for e in events]
    first = [b for b in bodies if getattr(b, "kind", "") == "worker" and b.attempt == 1]
    asked = [b for b in first if isinstance(b, CallDispatched)]
    ended = [b for b in first if isinstance(b, CallSucceeded | CallFailed)]
    tokens = sum(call.usage.output_tokens for call in ended)
    times = [call.timing for call in ended if call.timing is not None]
    seconds = max(t.ended_at for t in times) - min(t.started_at for t in times)
    return Written(
        tokens,
        tokens / seconds,
        tuple(read_messages(target.reader.text(body.prompt.sha256)) for body in asked),
    )


class EngineAlone:
    """The same engine in a process of its own, idle while the deployment's works."""

    async def start(self, pool: PoolConfig) -> None:
        self._engine = build_engine(pool, pool.replicas[0], replica_id="alone:0")
        await self._engine.start()

    async def drain(
        self, prompts: Sequence[tuple[Message, ...]], sampling: Sampling, round_: int
    ) -> tuple[int, float]:
        """Tokens, and tokens/s, of the generations side by side, their deltas dropped."""
        start = time.perf_counter()
        drawn = await asyncio.gather(
            *(
                self._one(GenerateRequest(f"alone-{round_}/f{index}/1", messages, sampling))
                for index, messages in enumerate(prompts)
            )
        )
        return sum(drawn), sum(drawn) / (time.perf_counter() - start)

    async def _one(self, request: GenerateRequest) -> int:
        return sum([delta.tokens async for delta in self._engine.generate(request)])


def measure(name: str, pool: dict[str, Any], *, count: int, tokens: int, rounds: int) -> float:
    """The median ratio of `rounds` alternating pairs."""
    ratios: list[float] = []
    with deployment(settings(pool, count, tokens), ready_s=600.0) as target:
        alone_engine = ray.remote(EngineAlone).options(num_cpus=0, max_concurrency=256).remote()
        ray.get(alone_engine.start.remote(target.config.pools["measured"]))
        sampling = sampling_of(target.config.aliases["writer"].sampling, attempt=1)
        for round_ in range(rounds + 1):
            files = through_files(target, count, round_)
            drawn, alone = ray.get(alone_engine.drain.remote(files.prompts, sampling, round_))
            if round_ == 0:
                continue  # the first round warms both up
            ratios.append(files.tokens_per_s / alone)
            print(
                f"{name}: alone {drawn} tokens at {alone:.1f}/s, "
                f"into files {files.tokens} at {files.tokens_per_s:.1f}/s"
            )
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
