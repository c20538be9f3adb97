"""The same API through the real thing: Serve's proxy, the ingress replica, the orchestrator."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from familiar.config.load import load_config
from familiar.config.schema import Config
from familiar.errors import ClusterError
from familiar.service import namespace_of

pytestmark = pytest.mark.ray

GOAL = "Make `notes.md` about bread."
PLAN = {
    "continue": False,
    "worker_calls": [
        {
            "id": "notes",
            "alias": "naughty",
            "prompt": "Write notes about bread.",
            "depends_on": [],
            "output_file": "notes.md",
        }
    ],
}
NOTES = "# Bread\n\nFlour, water, salt and time.\n"
SLOW = "Make `slow.md` slowly."
KEY = {"Authorization": "Bearer serve-key-of-this-test"}


@dataclass(frozen=True)
class Served:
    """`refusal` was said while another process listened on the port."""

    config: Config
    url: str
    refusal: str

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={**KEY, **headers}, timeout=60)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A deployment of its own, brought up as `build` is by Serve: from a file and overrides."""
    from ray import serve

    from actors.deploy import ensure_deployment, wait_ready
    from actors.take_down import take_down
    from cluster.local import start_local
    from serve_app.app import build
    from serve_app.serving import APPLICATION, start_http

    folder = tmp_path_factory.mktemp("served")
    path = folder / "familiar.yaml"
    path.write_text(yaml.safe_dump(_settings(folder)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAMILIAR_TEST_KEY", "serve-key-of-this-test")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        config = load_config(path, {"api.port": port})
        with start_local(config.cluster, namespace=namespace_of(config.deployment)):
            orchestrator = ensure_deployment(config)
            with (
                socket.create_server(("127.0.0.1", port)),
                pytest.raises(ClusterError) as refused,
            ):
                start_http(config)
            start_http(config)
            built = build({"config": str(path), "api.port": str(port)})
            serve.run(built, name=APPLICATION, route_prefix="/")
            wait_ready(orchestrator, timeout_s=120)
            yield Served(config, f"http://127.0.0.1:{port}", str(refused.value))
            # Serve's handle would be used in the next Ray of this process, too.
            serve.shutdown()
            take_down(config.deployment)


def _settings(folder: Path) -> dict[str, Any]:
    plan = {"when": {"call": "plan-*"}, "answer": {"text": json.dumps(PLAN)}}
    slow_plan = {
        "when": {"call": "plan-*", "contains": "slow.md"},
        "answer": {"text": json.dumps(PLAN).replace("notes.md", "slow.md")},
    }
    slow = {
        "when": {"call": "notes", "contains": "slow.md"},
        "answer": {"tokens": 100_000},
        "rates": {"tokens_per_s": 20},
    }
    script = {"rules": [slow_plan, plan, slow], "answer": {"text": NOTES}}
    return {
        "deployment": "served",
        "pools": {
            "scripted": {
                "engine": "scripted",
                "model": "scripted",
                "replicas": [{}],
                "engine_args": {"script": script},
            }
        },
        "aliases": {
            "orchestrator": {"pool": "scripted"},
            "naughty": {"pool": "scripted", "mode": "output_file"},
        },
        "store": {"url": f"sqlite:///{folder}/familiar.db"},
        "workspace": {"root": str(folder / "workspaces")},
        "api": {"keys": ["env:FAMILIAR_TEST_KEY"]},
        "cluster": {"num_cpus": 4, "object_store_mib": 100},
    }


def _events(http: httpx.Client, run_id: str, after: int = 0, stop: int = 0) -> list[dict[str, Any]]:
    """Messages until the end, or until `stop` messages with an id arrived."""
    found: list[dict[str, Any]] = []
    path = f"/v1/runs/{run_id}/events"
    with http.stream("GET", path, params={"after": after}) as response:
        assert response.status_code == 200
        message: dict[str, Any] = {}
        for line in response.iter_lines():
            name, _, value = line.partition(": ")
            if name in {"id", "event", "data"}:
                message[name] = value
            elif not line and message:
                found.append(message)
                message = {}
                if stop and len([m for m in found if "id" in m]) >= stop:
                    break
    return found


def test_a_goal_becomes_a_file_and_every_step_can_be_read(served: Served) -> None:
    with served.client() as http:
        accepted = http.post("/v1/runs", json={"goal": GOAL})
        assert accepted.status_code == 202, accepted.text
        run_id = accepted.json()["run_id"]
        messages = _events(http, run_id)
        assert messages[-1]["event"] == "end"
        end = json.loads(messages[-1]["data"])
        assert end["outcome"] == "succeeded", end
        ids = [int(message["id"]) for message in messages if "id" in message]
        assert ids == list(range(1, end["seq"] + 1))
        run = http.get(accepted.headers["Location"]).json()
        assert (run["status"], run["files_made"]) == ("succeeded", ["notes.md"])
        got = http.get(f"/v1/runs/{run_id}/artifacts/notes.md")
        assert got.text == NOTES
        assert got.headers["content-type"].startswith("text/markdown")
        assert (Path(run["workspace"]) / "notes.md").read_text() == NOTES
        (turn,) = http.get(f"/v1/runs/{run_id}/plan").json()["turns"]
        assert [node["id"] for node in turn["worker_calls"]] == ["notes"]
        (made,) = http.get(f"/v1/runs/{run_id}/calls/notes").json()["attempts"]
        assert made["content"] == NOTES
        assert made["queued_at"] <= made["started_at"] <= made["ended_at"]
        assert len(http.get(f"/v1/runs/{run_id}/log").text.splitlines()) == end["seq"]
        assert "familiar_runs_ended_total" in http.get("/metrics").text


def test_a_stream_that_is_cut_goes_on_where_it_was(served: Served) -> None:
    with served.client() as http:
        run_id = http.post("/v1/runs", json={"goal": GOAL}).json()["run_id"]
        seen = [int(m["id"]) for m in _events(http, run_id, stop=2) if "id" in m]
        assert seen == [1, 2]
        rest = _events(http, run_id, after=2)
        ids = [int(m["id"]) for m in rest if "id" in m]
        assert ids == list(range(3, json.loads(rest[-1]["data"])["seq"] + 1))


def test_the_same_key_means_the_same_run_and_errors_cross_ray_as_problems(served: Served) -> None:
    with served.client(**{"Idempotency-Key": "bread"}) as http:
        first = http.post("/v1/runs", json={"goal": GOAL})
        again = http.post("/v1/runs", json={"goal": GOAL})
        other = http.post("/v1/runs", json={"goal": "Make `other.md`."})
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 409)
    assert again.json()["run_id"] == first.json()["run_id"]
    assert other.headers["content-type"] == "application/problem+json"
    assert other.json()["field"] == "Idempotency-Key"
    assert "Traceback" not in other.text


def test_progress_is_told_and_a_running_run_can_be_cancelled(served: Served) -> None:
    with served.client() as http:
        run_id = http.post("/v1/runs", json={"goal": SLOW}).json()["run_id"]
        with http.stream("GET", f"/v1/runs/{run_id}/events") as response:
            lines = response.iter_lines()
            for line in lines:
                if line == "event: progress":
                    calls = json.loads(next(lines).removeprefix("data: "))["calls"]
                    if calls and calls[0]["tokens"] > 0:
                        assert (calls[0]["call"], calls[0]["alias"]) == ("notes", "naughty")
                        break
        assert http.post(f"/v1/runs/{run_id}/cancel", json={"reason": "enough"}).status_code == 202
        end = json.loads(_events(http, run_id)[-1]["data"])
        assert end["outcome"] == "cancelled"


def test_a_body_that_is_too_large_is_rejected_by_the_api(served: Served) -> None:
    with served.client() as http:
        response = http.post("/v1/runs", json={"goal": "x" * 10_000_000})
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


def test_nobody_asks_without_a_key(served: Served) -> None:
    assert httpx.get(f"{served.url}/v1/runs").status_code == 401
    assert httpx.get(f"{served.url}/healthz").status_code == 200
    assert httpx.get(f"{served.url}/readyz").json() == {"ready": True}


def test_deploying_again_keeps_the_orchestrator(served: Served) -> None:
    import ray

    from actors.deploy import find_orchestrator
    from serve_app.serving import deploy

    before = ray.get(find_orchestrator("served").pid.remote())
    deploy(served.config, shared=False)
    assert ray.get(find_orchestrator("served").pid.remote()) == before


def test_a_taken_port_is_named_with_who_has_it_before_serve_starts(served: Served) -> None:
    assert f"127.0.0.1:{served.config.api.port}" in served.refusal
    assert f"process {os.getpid()}" in served.refusal


def test_another_address_for_a_serve_that_runs_is_rejected(served: Served) -> None:
    from serve_app.serving import start_http

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    moved = served.config.model_copy(
        update={"api": served.config.api.model_copy(update={"port": port})}
    )
    with pytest.raises(ClusterError, match="does not listen"):
        start_http(moved)


def test_a_killed_orchestrator_is_found_again_and_no_event_is_lost_or_doubled(
    served: Served,
) -> None:
    import ray

    from actors.deploy import find_orchestrator

    with served.client() as http:
        run_id = http.post("/v1/runs", json={"goal": SLOW}).json()["run_id"]
        seen = [int(m["id"]) for m in _events(http, run_id, stop=5) if "id" in m]
        os.kill(ray.get(find_orchestrator("served").pid.remote()), signal.SIGKILL)
        assert http.get(f"/v1/runs/{run_id}").json()["status"] == "running"
        deadline = time.monotonic() + 60
        while True:
            answer = http.post(f"/v1/runs/{run_id}/cancel", json={})
            if answer.status_code == 202:
                break
            assert answer.status_code == 503, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert time.monotonic() < deadline
            time.sleep(0.5)
        rest = _events(http, run_id, after=seen[-1])
        ids = seen + [int(m["id"]) for m in rest if "id" in m]
        end = json.loads(rest[-1]["data"])
        assert end["outcome"] == "cancelled"
        assert ids == list(range(1, end["seq"] + 1))
