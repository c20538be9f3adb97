"""The cluster's live nodes with their labels, CPUs, GPUs and cores.

Ray knows how many GPUs a node has, not which; NVML knows which, not whether Ray was given them. One
short task on each node brings both together: GPUs come from NVML where there is one, else as bare
indices up to Ray's count (logical GPUs of tests and rehearsals). A device is named by its NVML
index or its UUID; NVML counts in PCI bus order, so replicas run with CUDA_DEVICE_ORDER=PCI_BUS_ID.

Blocking: call it in a thread from asyncio code (`asyncio.to_thread`). It observes and decides
nothing; `groups` knows which devices are taken.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU of a node. Without NVML only `index` is known, and the GPU is a logical one."""

    index: int
    uuid: str | None = None
    name: str | None = None

    def is_called(self, name: int | str) -> bool:
        """Whether a config's name (an index, also as text, or a UUID) means this GPU."""
        return str(name) in {str(self.index), self.uuid}

    def __str__(self) -> str:
        return f"gpu {self.index}"


@dataclass(frozen=True, slots=True)
class CoreSet:
    """A set of CPU cores, the device of a replica on a host without GPUs."""

    cores: tuple[int, ...]

    def __str__(self) -> str:
        return f"cores {','.join(map(str, self.cores))}"


Device = Gpu | CoreSet


@dataclass(frozen=True, slots=True)
class Node:
    """A live node. `gpu_slots`, `cpus`: Ray's count; `gpus`, `cores`: the devices themselves."""

    node_id: str
    address: str
    hostname: str
    labels: Mapping[str, str]
    cpus: float
    gpu_slots: int
    gpus: tuple[Gpu, ...] = ()
    cores: tuple[int, ...] = ()
    is_here: bool = field(default=False, compare=False)

    def has_labels(self, wanted: Mapping[str, str]) -> bool:
        return all(self.labels.get(key) == value for key, value in wanted.items())

    def gpu(self, name: int | str) -> Gpu | None:
        return next((gpu for gpu in self.gpus if gpu.is_called(name)), None)

    def __str__(self) -> str:
        own = {k: v for k, v in self.labels.items() if not k.startswith("ray.io/")}
        return f"node {self.hostname} ({self.address}, labels {own or 'none'})"


Observation = tuple[tuple[Gpu, ...], tuple[int, ...]]
"""The GPUs and the cores of a host."""


def survey(
    observed: MutableMapping[str, Observation], *, timeout_s: float
) -> tuple[tuple[Node, ...], dict[str, str]]:
    """The live nodes that say which devices they have, and by id why the others do not.

    `observed` remembers the answers by node id, which a node never gets again: only nodes that are
    not in it are asked (`timeout_s` seconds at most), and those that are gone are dropped from it.
    """
    import ray

    here = ray.get_runtime_context().get_node_id()
    rows: Sequence[Mapping[str, object]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = {str(row["NodeID"]): row for row in rows if row["Alive"]}
    for gone in observed.keys() - alive.keys():
        del observed[gone]
    silent = _ask(
        {key: row for key, row in alive.items() if key not in observed}, observed, timeout_s
    )
    nodes = [
        _node(row, *observed[key], is_here=key == here)
        for key, row in alive.items()
        if key in observed
    ]
    nodes.sort(key=lambda node: (not node.is_here, node.address, node.node_id))
    return tuple(nodes), silent


def _ask(
    rows: Mapping[str, Mapping[str, object]],
    observed: MutableMapping[str, Observation],
    timeout_s: float,
) -> dict[str, str]:
    """Let each node look at its devices; return by id why a node gave no answer."""
    if not rows:
        return {}
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    observe = ray.remote(num_cpus=0, max_retries=1)(observe_devices)
    answers = {
        node_id: observe.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
        ).remote()
        for node_id in rows
    }
    done, _ = ray.wait(list(answers.values()), num_returns=len(answers), timeout=timeout_s)
    silent: dict[str, str] = {}
    for node_id, answer in answers.items():
        row = rows[node_id]
        told = f"Node {row['NodeManagerHostname']} ({row['NodeManagerAddress']})"
        if answer not in done:
            ray.cancel(answer, force=True)
            silent[node_id] = f"{told} did not answer within {timeout_s:.0f} s."
            continue
        try:
            observed[node_id] = ray.get(answer)
        except ray.exceptions.RayError as error:
            silent[node_id] = f"{told} could not be looked at: {error}"
    return silent


def observe_devices() -> Observation:
    """The GPUs that NVML sees on this host, and the cores that this process may use."""
    return nvml_gpus(), usable_cores()


def usable_cores() -> tuple[int, ...]:
    """The cores that this process may run on, in order; a container may have few. Linux only."""
    return tuple(sorted(os.sched_getaffinity(0)))


def nvml_gpus() -> tuple[Gpu, ...]:
    """The GPUs of this host in PCI bus order; none when there is no NVIDIA driver."""
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            found.append(
                Gpu(
                    index=index,
                    uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
                    name=_text(pynvml.nvmlDeviceGetName(handle)),
                )
            )
        return tuple(found)
    finally:
        pynvml.nvmlShutdown()


def _node(
    row: Mapping[str, object], gpus: tuple[Gpu, ...], cores: tuple[int, ...], *, is_here: bool
) -> Node:
    resources = row["Resources"]
    labels = row["Labels"]
    assert isinstance(resources, Mapping)
    assert isinstance(labels, Mapping)
    slots = int(resources.get("GPU", 0))
    return Node(
        node_id=str(row["NodeID"]),
        address=str(row["NodeManagerAddress"]),
        hostname=str(row["NodeManagerHostname"]),
        labels=dict(labels),
        cpus=float(resources.get("CPU", 0.0)),
        gpu_slots=slots,
        gpus=gpus if gpus and slots else tuple(Gpu(index) for index in range(slots)),
        cores=cores,
        is_here=is_here,
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
