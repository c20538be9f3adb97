"""Faults of real servers and real connections, on real vLLM behind its own HTTP server.

One server for all. It is asked too much, asked for a model that it has not got, reached over a line
that trickles, looked for at a port where nobody listens; then its processes are stopped in the
middle of an answer, and at last killed in the middle of another.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray

from actors.deploy import ensure_deployment
from actors.engines.vllm.engine import EXECUTOR
from actors.engines.weights import prepare
from actors.store.queries import Reader
from actors.take_down import take_down
from cluster.local import start_local
from familiar.config.schema import ClusterConfig, Config
from familiar.event import Event
from familiar.explain.cause import Cause
from familiar.explain.explain import explain
from tests.actors.deployment import Deployment, wait_for
from tests.faults.injected import call, plan
from tests.faults.test_causes import shown
from tests.serve_app.scripted import free_port

# Its deadlines are of seconds, and another engine beside it takes the cores that they count on.
pytestmark = [pytest.mark.engine, pytest.mark.alone]

MARK = "trickle-this"
SLOW_BYTES_PER_S = 150
EXPECTED = {
    "hurried": Cause.CALL_OVERSIZED,
    "proxied": Cause.BACKEND_SLOW,
    "closed": Cause.BACKEND_UNREACHABLE,
    "misnamed": Cause.MODEL_UNKNOWN,
    "stopped": Cause.BACKEND_STALLED,
    "killed": Cause.BACKEND_DIED,
}
PLANS = {
    "hurried": plan(
        *(call(f"brief-{n}", "brief") for n in range(3)),
        call("hurried", "hurried", "brief-0", "brief-1", "brief-2"),
    ),
    "proxied": plan(
        call("p-1", "proxied"),
        call("p-2", "proxied", "p-1"),
        call("p-3", "proxied", "p-2"),
        {**call("p-4", "proxied", "p-3"), "prompt": f"Say something, {MARK}."},
    ),
    "closed": plan(call("closed", "closed")),
    "misnamed": plan(call("misnamed", "misnamed")),
    "stopped": plan(call("stopped", "long")),
    "killed": plan(call("killed", "long")),
}


def config(folder: Path, server: int, proxy: int) -> Config:
    url = f"http://127.0.0.1:{server}"

    def pool(model: str, url: str) -> dict[str, Any]:
        return {
            "engine": "openai",
            "model": model,
            "replicas": [{"url": url}],
            "context_length": 2048,
            "health_interval_s": 1.0,
            "engine_args": {"body": {"ignore_eos": True}, "patience_s": 5},
        }

    def alias(pool: str, tokens: int, **limits: float) -> dict[str, Any]:
        return {"pool": pool, "sampling": {"max_tokens": tokens}, "queue_deadline_s": 60, **limits}

    rules = [
        {"when": {"call": "plan-*", "contains": f"goal-{name}-goal"}, "answer": {"text": answer}}
        for name, answer in PLANS.items()
    ]
    brain = {"engine": "scripted", "model": "script", "replicas": [{}], "context_length": 100_000}
    return Config.model_validate(
        {
            "deployment": "real",
            "pools": {
                "brain": {**brain, "engine_args": {"script": {"rules": rules}}},
                "real": pool("smol", url),
                "proxied": pool("smol", f"http://127.0.0.1:{proxy}"),
                "closed": pool("smol", f"http://127.0.0.1:{free_port()}"),
                "misnamed": pool("grand", url),
            },
            "aliases": {
                "orchestrator": {"pool": "brain"},
                "brief": alias("real", 30),
                "hurried": alias("real", 1500, deadline_s=8.0),
                "long": alias("real", 1500, deadline_s=120.0, stall_deadline_s=4.0),
                "proxied": alias("proxied", 40, deadline_s=25.0, stall_deadline_s=8.0),
                "closed": alias("closed", 40),
                "misnamed": alias("misnamed", 40),
            },
            "orchestrator": {"rules_planner": False, "synthesis": False, "plan_tries": 1},
            "budgets": {"turns": 1, "attempts": 1},
            "store": {"url": f"sqlite:///{folder}/real.db"},
            "workspace": {"root": str(folder / "real")},
            "api": {"auth": "none"},
        }
    )


@contextlib.contextmanager
def started(
    *words: str, ready: Callable[[], object], **env: str
) -> Iterator[subprocess.Popen[Any]]:
    """A program in a process group of its own, which is ended as a whole."""
    process = subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, **env},
        cwd=Path(__file__).resolve().parent.parent.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: process.poll() is not None or ready(), words[1], pause_s=0.2)
        assert process.poll() is None, f"{words[1]} ended by itself"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success
    return False


@contextlib.contextmanager
def vllm_server(port: int) -> Iterator[subprocess.Popen[Any]]:
    core = str(max(os.sched_getaffinity(0)))
    settings = {
        "--model": str(prepare()),
        "--served-model-name": "smol",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--max-model-len": "2048",
        "--max-num-seqs": "4",
        "--kv-cache-memory-bytes": str(256 << 20),
        "--distributed-executor-backend": EXECUTOR,
    }
    words = [word for pair in settings.items() for word in pair]
    with started(
        "-m",
        "vllm.entrypoints.openai.api_server",
        *words,
        "--enforce-eager",
        ready=lambda: answers(port),
        VLLM_CPU_OMP_THREADS_BIND=core,
        OMP_NUM_THREADS="1",
        FAMILIAR_ENGINE_CORES=core,
        VLLM_NO_USAGE_STATS="1",
        HF_HUB_OFFLINE="1",
    ) as process:
        yield process


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, list[Event]]]:
    folder = tmp_path_factory.mktemp("real")
    port, behind = free_port(), free_port()
    proxy = ("tests.faults.proxy", str(behind), str(port), MARK, str(SLOW_BYTES_PER_S))
    settings = config(folder, port, behind)
    ray_settings = ClusterConfig(num_cpus=4, object_store_mib=100)
    with (
        start_local(ray_settings, namespace="tests"),
        vllm_server(port) as server,
        started("-m", *proxy, ready=lambda: answers(behind)),
    ):
        orchestrator = ensure_deployment(settings)
        try:
            wait_for(lambda: up(orchestrator), "the pools that can come up")
            reader = Reader.open(settings.store.url)
            deployment = Deployment(settings, folder, orchestrator, reader)
            yield injected(deployment, server)
            reader.close()
        finally:
            take_down(settings.deployment)


def injected(deployment: Deployment, server: subprocess.Popen[Any]) -> dict[str, list[Event]]:
    """The history of one run for each fault."""
    runs: dict[str, str] = {}

    def submit(name: str) -> None:
        runs[name] = deployment.submit(f"Please do goal-{name}-goal.", ())

    submit("proxied")
    deployment.wait_ended(runs.values())
    for name in ("hurried", "closed", "misnamed"):
        submit(name)
    deployment.wait_ended(runs.values())
    submit("stopped")
    wait_for(lambda: writes(deployment, runs["stopped"]), "the first tokens")
    os.killpg(server.pid, signal.SIGSTOP)
    deployment.wait_ended(runs.values())
    # What is noticed of the stopped server only after it goes on would strike the next call.
    wait_for(lambda: deployment.replicas()["real:0"].state != "ready", "the health check")
    os.killpg(server.pid, signal.SIGCONT)
    wait_for(lambda: deployment.replicas()["real:0"].state == "ready", "the server again")
    submit("killed")
    wait_for(lambda: writes(deployment, runs["killed"]), "the first tokens")
    os.killpg(server.pid, signal.SIGKILL)
    deployment.wait_ended(runs.values())
    return {name: deployment.history(run_id) for name, run_id in runs.items()}


def up(orchestrator: Any) -> bool:
    pools = {pool.pool: pool for pool in ray.get(orchestrator.pools.remote())}
    return all(pools[name].replicas[0].state == "ready" for name in ("brain", "real", "proxied"))


def writes(deployment: Deployment, run_id: str) -> bool:
    progress = deployment.ask(lambda: deployment.orchestrator.progress.remote(run_id))
    return any(seen.tokens > 10 for seen in progress if seen.alias == "long")


@pytest.mark.parametrize("name", EXPECTED)
def test_the_cause_of_a_real_fault_is_named_first(
    histories: Mapping[str, list[Event]], name: str
) -> None:
    found = explain(histories[name])
    assert found.cause is EXPECTED[name], shown(found)
    assert found.causes[0].decisive


def test_a_real_oversized_call_is_proved_against_its_backend(
    histories: Mapping[str, list[Event]],
) -> None:
    ruled_out = {excluded.cause for excluded in explain(histories["hurried"]).causes[0].ruled_out}
    assert {Cause.BACKEND_UNREACHABLE, Cause.BACKEND_SLOW, Cause.BACKEND_STALLED} <= ruled_out


def test_what_the_server_serves_is_what_to_change(histories: Mapping[str, list[Event]]) -> None:
    change = explain(histories["misnamed"]).causes[0].change
    assert json.dumps(change).count("smol") == 1
