"""How often every replica sits on the GPU that the config names, over fresh starts of Ray.

Each round starts a private local Ray with four logical GPUs, reserves what `configs/four-gpu.yaml`
asks for (naughty on 1 and 3, the orchestrator on 0 and 2, two pools at URLs), starts an actor on
each reservation and asks it which GPU Ray gave it. The peer is what a config of Ray Serve or
`ray.remote(num_gpus=1)` does: one group for each replica, in the order of the config, and whatever
GPU comes. The last line is one JSON object.

    python bench/pinning.py [--rounds 20]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cluster import groups  # noqa: E402
from cluster.assignment import replicas_of  # noqa: E402
from cluster.local import start_local  # noqa: E402
from cluster.placement import Reconciler, release  # noqa: E402
from familiar.config.load import load_config  # noqa: E402
from familiar.config.schema import ClusterConfig, ReplicaConfig  # noqa: E402

DEPLOYMENT = "bench"
SETTINGS = ClusterConfig(num_cpus=2, logical_gpus=4, object_store_mib=100)


@dataclass(frozen=True, slots=True)
class Round:
    """One fresh start: who was right, and how long each part took, in seconds."""

    right: bool
    peer_right: bool
    start_s: float
    reserve_s: float
    adopt_s: float


def gpus_seen(options: Mapping[str, dict[str, object]]) -> dict[str, list[str]]:
    """Start a task with each replica's options and let it say which GPUs Ray gave it."""
    import ray

    @ray.remote(max_calls=0)
    def own_gpus() -> list[str]:
        return [str(gpu) for gpu in ray.get_runtime_context().get_accelerator_ids()["GPU"]]

    asked = {key: own_gpus.options(**chosen).remote() for key, chosen in options.items()}
    return dict(zip(asked, ray.get(list(asked.values())), strict=True))


def peer_gpus(replicas: Mapping[str, ReplicaConfig]) -> dict[str, list[str]]:
    """One group for each replica that wants a GPU, in the order of the config."""
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    node_id = ray.get_runtime_context().get_node_id()
    made = {
        key: groups.create("", node_id, {"GPU": 1.0}, detached=False)
        for key, replica in replicas.items()
        if replica.gpus
    }
    assert groups.wait_placed(made.values(), 30.0) == set(made.values())
    return gpus_seen(
        {
            key: {
                "num_cpus": 0,
                "num_gpus": 1,
                "scheduling_strategy": PlacementGroupSchedulingStrategy(groups.handle(group_id), 0),
            }
            for key, group_id in made.items()
        }
    )


def one_round(replicas: Mapping[str, ReplicaConfig]) -> Round:
    """Start, reserve, look, reserve again, look at the peer, stop."""
    named = {key: [str(gpu) for gpu in r.gpus] for key, r in replicas.items() if r.gpus}
    started = time.perf_counter()
    with start_local(SETTINGS, namespace=DEPLOYMENT):
        ready = time.perf_counter()
        placements = Reconciler(DEPLOYMENT).reconcile(replicas).placements
        reserved = time.perf_counter()
        adopted = Reconciler(DEPLOYMENT).reconcile(replicas).placements
        again = time.perf_counter()
        seen = gpus_seen({key: placements[key].options() for key in named})
        told = {key: placements[key].env["CUDA_VISIBLE_DEVICES"].split(",") for key in named}
        release(DEPLOYMENT)
        return Round(
            right=seen == told == named and adopted == placements,
            peer_right=peer_gpus(replicas) == named,
            start_s=ready - started,
            reserve_s=reserved - ready,
            adopt_s=again - reserved,
        )


def main() -> None:
    """Run the rounds and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds: int = parser.parse_args().rounds
    replicas = replicas_of(load_config(ROOT / "configs" / "four-gpu.yaml"))
    done: list[Round] = []
    for number in range(1, rounds + 1):
        done.append(one_round(replicas))
        last = done[-1]
        print(
            f"{number:2}/{rounds} {'right' if last.right else 'WRONG'}; "
            f"start {last.start_s:.1f} s, reserve {last.reserve_s:.2f} s, "
            f"again {last.adopt_s:.2f} s",
            flush=True,
        )
    right = sum(r.right for r in done)
    print(f"every replica on the GPU that the config names: {right} of {rounds} fresh starts")
    print(
        json.dumps(
            {
                "bench": "pinning",
                "value": right,
                "unit": f"of {rounds} fresh starts",
                "goal": f"= {rounds}",
                "peers": {"groups in the config's order": sum(r.peer_right for r in done)},
                "settings": {
                    "rounds": rounds,
                    "logical_gpus": SETTINGS.logical_gpus,
                    "replicas": {key: r.gpus or r.url for key, r in replicas.items()},
                    "start_s_median": round(statistics.median(r.start_s for r in done), 2),
                    "reserve_s_median": round(statistics.median(r.reserve_s for r in done), 2),
                    "adopt_s_median": round(statistics.median(r.adopt_s for r in done), 3),
                },
            }
        )
    )
    sys.exit(0 if right == rounds else 1)


if __name__ == "__main__":
    main()
