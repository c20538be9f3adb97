"""Each folder as `kubectl kustomize` renders it. `tests/docs` goes through `k8s/README.md`."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

from familiar.config.load import load_config
from tests.k8s.crd import CrdSchema, load_documents
from tests.k8s.manifests import JOB, K8S, SERVICE, Manifest
from tests.k8s.test_pods import references

KUBECTL = shutil.which("kubectl")
FOLDERS = ["base", "models", "service", "job", "one-gpu", "no-gpu", "restore"]
each_folder = pytest.mark.parametrize("folder", FOLDERS)
each_service = pytest.mark.parametrize("folder", ["service", "one-gpu", "no-gpu"])

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl, which renders, is not installed")


@functools.cache
def render(folder: Path) -> list[Manifest]:
    assert KUBECTL is not None
    built = subprocess.run(
        [KUBECTL, "kustomize", str(folder)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert built.returncode == 0, built.stderr
    return load_documents(built.stdout)


def one(documents: list[Manifest], kind: str) -> Manifest:
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(K8S, tmp_path / "k8s"))


@each_folder
def test_a_folder_renders_without_secrets(folder: str) -> None:
    assert "Secret" not in {document["kind"] for document in render(K8S / folder)}


def test_service_and_job_are_rendered_as_they_are_written() -> None:
    assert SERVICE in render(K8S / "service")
    assert JOB in render(K8S / "job")


@pytest.mark.parametrize("folder", [name for name in FOLDERS if name != "base"])
def test_another_registry_is_named_in_one_place(folder: str, copy: Path) -> None:
    file = copy / "image" / "kustomization.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("newName: familiar", "newName: registry.example/team/familiar"))
    images = references(render(copy / folder), "image")
    assert images
    assert set(images) == {"registry.example/team/familiar:0.1.0"}


@each_service
def test_a_variant_fits_the_definition_and_its_configuration(
    folder: str, shared_dir: Path, tmp_path: Path
) -> None:
    documents = render(K8S / folder)
    service = one(documents, "RayService")
    assert CrdSchema(shared_dir / "crds" / "ray.io_rayservices.yaml").errors(service) == []
    file = tmp_path / "cluster.yaml"
    file.write_text(one(documents, "ConfigMap")["data"]["cluster.yaml"], encoding="utf-8")
    config = load_config(file)
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    nodes = {
        label
        for pool in config.pools.values()
        for replica in pool.replicas
        for label in replica.node.labels.items()
    } | set(config.cluster.orchestrator_node.labels.items())
    assert nodes == {label for group in groups for label in group["labels"].items()}
    assert one(documents, "PodDisruptionBudget")["spec"]["minAvailable"] == 1 + len(groups)
    claims = {d["metadata"]["name"] for d in documents if d["kind"] == "PersistentVolumeClaim"}
    assert claims == set(references(service, "claimName"))


@pytest.mark.parametrize("folder", ["service", "job"])
def test_the_runtime_class_reaches_gpu_pods_only(folder: str, copy: Path) -> None:
    file = copy / folder / "kustomization.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("  - ../image", "  - ../image\n  - ../runtime-class"))
    (owner,) = (d for d in render(copy / folder) if d["kind"] in {"RayService", "RayJob"})
    cluster = owner["spec"].get("rayClusterConfig") or owner["spec"]["rayClusterSpec"]
    for group in cluster["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        gpu = "nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"]
        assert pod.get("runtimeClassName") == ("nvidia" if gpu else None)
