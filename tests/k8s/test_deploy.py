"""The `serveConfigV2` of the RayService, deployed for real on a local Ray.

What KubeRay hands to Serve is taken from the manifest and not from a copy: the same import path,
deployment options and label selector. Only what a laptop cannot have is replaced: the mounted
configuration (the same file with scripted engines, and folders of the test), and the address.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from cluster.local import start_local
from familiar.config.load import load_config
from familiar.config.schema import ClusterConfig

pytestmark = pytest.mark.ray

ROOT = Path(__file__).resolve().parents[2]
KEY = "k8s-test-key-of-twenty"
PLAN = {
    "continue": False,
    "worker_calls": [
        {
            "id": "n1",
            "alias": "naughty",
            "prompt": "Write the notes.",
            "depends_on": [],
            "output_file": "notes.md",
        }
    ],
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve_config(config_path: Path, port: int) -> dict[str, object]:
    documents = yaml.safe_load_all((ROOT / "k8s/service/rayservice.yaml").read_text())
    service = next(d for d in documents if d and d["kind"] == "RayService")
    found = yaml.safe_load(service["spec"]["serveConfigV2"])
    found["http_options"] |= {"host": "127.0.0.1", "port": port}
    found["applications"][0]["args"]["config"] = str(config_path)
    return dict(found)


def _rehearsal(folder: Path) -> Path:
    """configs/cluster.yaml with scripted engines and without devices, on the control node."""
    settings = yaml.safe_load((ROOT / "configs/cluster.yaml").read_text())
    control = {"labels": {"familiar.dev/role": "control"}}
    script = {
        "rules": [{"when": {"grammar": "json"}, "answer": json.dumps(PLAN)}],
        "answer": "# Notes\n\nWritten on a rehearsal of the cluster.\n",
    }
    for pool in settings["pools"].values():
        pool |= {"engine": "scripted", "engine_args": {"script": script}}
        pool["replicas"] = [{"node": control}]
        pool.pop("api_key_env", None)
    key = folder / "key"
    key.write_text(f"{KEY}\n", encoding="utf-8")
    key.chmod(0o400)
    settings["api"]["keys"] = [f"file:{key}"]
    settings["store"] = {"url": f"sqlite:///{folder}/familiar.db"}
    settings["workspace"] = {"root": str(folder / "workspaces")}
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(settings))
    load_config(path)
    return path


@pytest.fixture
def service(tmp_path: Path) -> Iterator[httpx.Client]:
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    port = _free_port()
    schema = ServeDeploySchema.model_validate(_serve_config(_rehearsal(tmp_path), port))
    local = ClusterConfig(num_cpus=4, object_store_mib=100, labels={"familiar.dev/role": "control"})
    with start_local(local, namespace="kuberay"):
        serve.start(http_options=schema.http_options.model_dump(exclude_unset=True))
        _get_global_client().deploy_apps(schema)
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as http:
            yield http
        serve.shutdown()


def test_the_manifest_s_application_takes_a_goal_to_a_file(service: httpx.Client) -> None:
    deadline = time.monotonic() + 180
    while True:
        try:
            if service.get("/readyz").status_code == 200:
                break
        except httpx.HTTPError:
            pass
        assert time.monotonic() < deadline, "the application of the manifest did not become ready"
        time.sleep(0.5)
    assert service.get("/v1/runs", headers={"Authorization": "Bearer wrong"}).status_code == 401
    run = service.post("/v1/runs", json={"goal": "Write `notes.md`."})
    assert run.status_code == 202, run.text
    run_id = run.json()["run_id"]
    while (state := service.get(f"/v1/runs/{run_id}").json())["status"] == "running":
        assert time.monotonic() < deadline, state
        time.sleep(0.2)
    assert state["status"] == "succeeded", state
    assert "rehearsal" in service.get(f"/v1/runs/{run_id}/artifacts/notes.md").text
