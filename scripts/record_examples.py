"""Record the examples of the API's description from real runs on scripted engines.

    python scripts/record_examples.py

Starts a private Ray and a service, works on three small goals, asks every route, and writes
`serve_app/examples.json`. Run it after a change of an answer's shape; a test compares the shapes.
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import httpx  # noqa: E402
from rich.console import Console  # noqa: E402

from familiar.config.load import parse_config  # noqa: E402
from serve_app.host import hosting  # noqa: E402
from serve_app.interrupt import catch_interrupts  # noqa: E402
from serve_app.phases import Phases  # noqa: E402

GOAL = "Make `index.html` for a small bakery."
FAILING = "prices.html"
SLOW = "history.html"
SHOWN = "/var/lib/familiar"


def config_text(folder: Path, port: int) -> str:
    page = "<!doctype html><title>Bread</title><p>Fresh bread every morning.</p>"
    node = {
        "id": "page-index",
        "alias": "naughty",
        "prompt": "Write index.html: the front page of a small bakery.",
        "output_file": "index.html",
    }
    plan = {"continue": False, "worker_calls": [node]}
    script = {
        "rates": {"ttft_s": 0.1, "tokens_per_s": 40},
        "rules": [
            *(
                {
                    "when": {"call": "plan-*", "contains": file},
                    "answer": json.dumps(plan).replace("index.html", file),
                }
                for file in (FAILING, SLOW)
            ),
            {"when": {"call": "plan-*"}, "answer": json.dumps(plan)},
            {"when": {"call": "synthesis-*"}, "answer": "index.html is made."},
            {
                "when": {"call": "page-index", "contains": FAILING},
                "faults": [{"kind": "status", "status": 400, "message": "no such model"}],
            },
            {"when": {"call": "page-index", "contains": SLOW}, "rates": {"ttft_s": 600}},
        ],
        "answer": {"text": page},
    }
    pool = {
        "engine": "scripted",
        "model": "script",
        "replicas": [{"cores": [0]}],
        "engine_args": {"script": script},
    }
    return json.dumps(
        {
            "pools": {"smol": pool},
            "aliases": {
                "orchestrator": {"pool": "smol"},
                "naughty": {"pool": "smol", "mode": "output_file"},
            },
            "orchestrator": {"generator": "naughty"},
            "budgets": {"attempts": 1, "turns": 1},
            "store": {"url": f"sqlite:///{folder}/familiar.db"},
            "workspace": {"root": f"{folder}/workspaces"},
            "api": {"auth": "none", "port": port},
            "cluster": {"num_cpus": 4, "object_store_mib": 80},
        }
    )


def record(http: httpx.Client) -> dict[str, Any]:
    def get(path: str) -> Any:
        reply = http.get(path).raise_for_status()
        return reply.json() if "json" in reply.headers["content-type"] else reply.text

    def submit(goal: str) -> dict[str, Any]:
        accepted: dict[str, Any] = http.post("/v1/runs", json={"goal": goal}).json()
        return accepted

    accepted = submit(GOAL)
    run = f"/v1/runs/{accepted['run_id']}"
    events = get(f"{run}/events")
    if "succeeded" not in events.rpartition("event: end")[2]:
        raise SystemExit(events)
    failed = submit(GOAL.replace("index.html", FAILING))
    get(f"/v1/runs/{failed['run_id']}/events")
    slow = submit(GOAL.replace("index.html", SLOW))
    while not get(f"/v1/runs/{slow['run_id']}/calls")["calls"]:
        pass
    cancelled = http.post(f"/v1/runs/{slow['run_id']}/cancel").json()
    get(f"/v1/runs/{slow['run_id']}/events")
    blocks = [block for block in events.split("\n\n") if block and not block.startswith(":")]
    first = [block for block in blocks if block.startswith("id:")][:2]
    progress = [block for block in blocks if block.startswith("event: progress")][:1]
    detail = get(run)
    log = get(f"{run}/log").splitlines()
    metrics = [line for line in get("/metrics").splitlines() if "familiar_runs_ended" in line]
    return {
        "run_accepted": accepted,
        "cancel_accepted": cancelled,
        "run_page": get("/v1/runs?limit=2"),
        "run_detail": detail,
        "plan": get(f"{run}/plan"),
        "call_list": get(f"{run}/calls"),
        "call_detail": get(f"{run}/calls/page-index"),
        "artifact_list": get(f"{run}/artifacts"),
        "artifact": get(f"{run}/artifacts/index.html"),
        "session": get(f"/v1/sessions/{accepted['session_id']}"),
        "pool_list": get("/v1/pools"),
        "deployment": get("/v1/deployment"),
        "explanation": get(f"/v1/runs/{failed['run_id']}/explain"),
        "run_difference": get(f"/v1/runs/{failed['run_id']}/diff/{accepted['run_id']}"),
        "goal": detail["goal"],
        "log": "\n".join([*log[:2], log[-1], ""]),
        "events": "\n\n".join([*first, *progress, blocks[-1], ""]),
        "metrics": "\n".join([*metrics, ""]),
    }


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="familiar-examples-"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = parse_config(config_text(folder, port))
    phases = Phases(Console(stderr=True))
    try:
        with (
            catch_interrupts(phases.say) as interrupts,
            hosting(config, phases, interrupts) as host,
            httpx.Client(base_url=host.url or "", timeout=120) as http,
        ):
            found = record(http)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = json.dumps(found, indent=1, ensure_ascii=False).replace(str(folder), SHOWN)
    text = text.replace(socket.gethostname(), "node-1")
    (ROOT / "serve_app" / "examples.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
