"""Get hold of GPUs by name, although Ray gives a bundle whichever GPU is free.

How: take a one-GPU group for every GPU of the node that is not reserved, ask each which GPU it got,
and so know all that are free. Then, for each GPU that is wanted, give up just the group that has
it and at once ask for the group that shall keep it: with all other free GPUs still held, that one
gets the GPU that was given up. Every kept group is asked again. At the end the rest is released.

The searching groups have no name and die with the process that made them, so a crash in the middle
leaves nothing but finished reservations. When two searches run at once, each holds GPUs that the
other wants; both release them and search again after a random pause. Blocking.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping

from cluster import groups
from cluster.inventory import Gpu, Node
from familiar.errors import ClusterError

PLACED_WITHIN_S = 3.0
BOOKS_WITHIN_S = 1.0
PROBE_TIMEOUT_S = 60.0
GPU_BUNDLE: Mapping[str, float] = {"GPU": 1.0}


def hold_gpus(node: Node, wanted: Mapping[int, str], *, timeout_s: float) -> dict[int, str]:
    """Make a detached group named `wanted[index]` for each GPU index; return the groups' ids.

    All or none: on failure the groups that were made are removed. Raises ClusterError when a GPU
    does not become free within `timeout_s` seconds.
    """
    made: dict[int, str] = {}
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            missing = {index: name for index, name in wanted.items() if index not in made}
            _search(node, missing, made)
            if len(made) == len(wanted):
                return made
            if time.monotonic() >= deadline:
                raise _not_free(node, {i: n for i, n in wanted.items() if i not in made})
            time.sleep(random.uniform(0.2, 1.5))
    except BaseException:
        groups.remove(made.values())
        raise


def _search(node: Node, missing: Mapping[int, str], made: dict[int, str]) -> None:
    """One round: hold every free GPU, keep the wanted ones, release the rest."""
    reserved = sum(
        group.node_id == node.node_id and group.device.startswith("gpu:")
        for group in groups.reservations()
    )
    searching = {
        groups.create("", node.node_id, GPU_BUNDLE, detached=False)
        for _ in range(node.gpu_slots - reserved)
    }
    try:
        placed = groups.wait_placed(searching, PLACED_WITHIN_S)
        # A group that still waits would get the GPU that the exchange below gives up.
        groups.remove(searching - placed)
        searching = placed
        found = {gpu.index: group_id for group_id, gpu in _probe(node, placed).items()}
        for index, name in missing.items():
            if index not in found:
                continue
            _give_up(found[index])
            searching.discard(found[index])
            kept = groups.create(name, node.node_id, GPU_BUNDLE, detached=True)
            if _has_gpu(node, kept, index):
                made[index] = kept
            else:
                groups.remove([kept])
    finally:
        groups.remove(searching)


def _give_up(group_id: str) -> None:
    """Remove a group and wait until Ray counts the GPU as free.

    A group that is asked for too early is looked at again only a second later; asked for afterwards
    it is placed in 20 ms. The count is of the whole cluster, so this saves time and proves
    nothing.
    """
    before = _free_gpus()
    groups.remove([group_id])
    deadline = time.monotonic() + BOOKS_WITHIN_S
    while _free_gpus() <= before and time.monotonic() < deadline:
        time.sleep(0.01)


def _free_gpus() -> float:
    import ray

    books: Mapping[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    return books.get("GPU", 0.0)


def _has_gpu(node: Node, group_id: str, index: int) -> bool:
    if not groups.wait_placed([group_id], PLACED_WITHIN_S):
        return False
    return _probe(node, {group_id})[group_id].index == index


def _probe(node: Node, group_ids: set[str]) -> dict[str, Gpu]:
    """Ask inside each group which GPU it has, one after the other.

    In turn they share one worker process, which answers in 10 ms; all at once they would start one
    each, at about a second of CPU.
    """
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    # Ray ends a worker after each GPU task unless told otherwise; here none touches the GPU.
    probe = ray.remote(num_cpus=0, num_gpus=1, max_calls=0, max_retries=2)(own_gpu_ids)
    found: dict[str, Gpu] = {}
    for group_id in sorted(group_ids):
        bundle = PlacementGroupSchedulingStrategy(
            groups.handle(group_id), placement_group_bundle_index=0
        )
        try:
            asked = probe.options(scheduling_strategy=bundle).remote()
            ids = ray.get(asked, timeout=PROBE_TIMEOUT_S)
        except ray.exceptions.GetTimeoutError as error:
            raise ClusterError(
                f"{node} did not say within {PROBE_TIMEOUT_S:.0f} s which GPU a group has.",
                remedy="Look at its raylet log: can it start worker processes?",
            ) from error
        except ray.exceptions.RayError as error:
            raise ClusterError(f"Asking {node} for its GPUs failed: {error}") from error
        gpu = node.gpu(ids[0]) if len(ids) == 1 else None
        if gpu is None:
            raise ClusterError(
                f"{node} gave a group GPU {ids}, which is not in its inventory.",
                remedy="Compare CUDA_VISIBLE_DEVICES of the raylet with `nvidia-smi -L`.",
            )
        found[group_id] = gpu
    return found


def own_gpu_ids() -> list[str]:
    """The GPUs that Ray gave to the task that calls this: indices as text, or UUIDs."""
    import ray

    return [str(gpu) for gpu in ray.get_runtime_context().get_accelerator_ids()["GPU"]]


def _not_free(node: Node, missing: Mapping[int, str]) -> ClusterError:
    held = {g.device: g for g in groups.reservations() if g.node_id == node.node_id}
    told = []
    for index, name in missing.items():
        holder = held.get(f"gpu:{index}")
        known = str(holder) if holder else "an actor or task outside of familiar"
        told.append(f"gpu {index}, wanted as {name}, is held by {known}")
    return ClusterError(
        f"On {node}, {'; '.join(told)}.", remedy="Free the device, or name another in the config."
    )
