"""The manifests of `k8s/`, read once, and the ways into them that their tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.k8s.crd import load_documents

REPOSITORY = Path(__file__).resolve().parents[2]
K8S = REPOSITORY / "k8s"
Manifest = dict[str, Any]


def read(name: str) -> list[Manifest]:
    return load_documents((K8S / name).read_text(encoding="utf-8"))


def only(name: str, kind: str) -> Manifest:
    (found,) = (document for document in read(name) if document["kind"] == kind)
    return found


def every_document() -> list[Manifest]:
    """Every object that a person applies: those in files, and the ConfigMaps that are generated."""
    found = []
    for file in sorted(K8S.rglob("*.yaml")):
        if file.name == "kustomization.yaml":
            found += _generated(file)
        elif file.name != "cluster.yaml":
            found += load_documents(file.read_text(encoding="utf-8"))
    return found


def _generated(kustomization: Path) -> list[Manifest]:
    (content,) = load_documents(kustomization.read_text(encoding="utf-8"))
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": entry["name"]},
            "data": {
                name: (kustomization.parent / name).read_text(encoding="utf-8")
                for name in entry["files"]
            },
        }
        for entry in content.get("configMapGenerator", [])
        if entry.get("behavior") != "replace"
    ]


SERVICE = only("service/rayservice.yaml", "RayService")
JOB = only("job/rayjob.yaml", "RayJob")
CLUSTERS = {
    "RayService": SERVICE["spec"]["rayClusterConfig"],
    "RayJob": JOB["spec"]["rayClusterSpec"],
}
each_cluster = pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS.keys())


def groups(cluster: Manifest) -> dict[str, Manifest]:
    return {group["groupName"]: group for group in cluster["workerGroupSpecs"]}


def pods(cluster: Manifest) -> dict[str, Manifest]:
    """The pod spec of every group, the head's too."""
    return {"head": cluster["headGroupSpec"]["template"]["spec"]} | {
        name: group["template"]["spec"] for name, group in groups(cluster).items()
    }


def ray_container(pod: Manifest) -> Manifest:
    (container,) = pod["containers"]
    assert isinstance(container, dict)
    return container


def every_pod() -> Iterator[tuple[str, Manifest]]:
    for owner, cluster in CLUSTERS.items():
        for name, pod in pods(cluster).items():
            yield f"{owner} {name}", pod
    yield "restore", only("restore/pod.yaml", "Pod")["spec"]
    yield "models loader", only("models/loader.yaml", "Job")["spec"]["template"]["spec"]
    yield "RayJob submitter", JOB["spec"]["submitterPodTemplate"]["spec"]


each_pod = pytest.mark.parametrize(
    "pod", [pod for _, pod in every_pod()], ids=[name for name, _ in every_pod()]
)
