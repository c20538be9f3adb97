"""The manifests fit KubeRay's own schemas, each other, and the configuration that they carry."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.head_node import HEALTH_CHECK
from familiar.config.load import load_config
from familiar.config.schema import Config
from tests.k8s.crd import CrdSchema, load_documents
from tests.k8s.manifests import (
    CLUSTERS,
    JOB,
    REPOSITORY,
    SERVICE,
    Manifest,
    each_cluster,
    every_document,
    groups,
    pods,
    ray_container,
)


@pytest.fixture(scope="session")
def config() -> Config:
    return load_config(REPOSITORY / "configs" / "cluster.yaml")


@pytest.fixture(scope="session")
def serve_config() -> Manifest:
    (document,) = load_documents(SERVICE["spec"]["serveConfigV2"])
    return document


@pytest.fixture(scope="session")
def crds(shared_dir: Path) -> dict[str, CrdSchema]:
    files = sorted((shared_dir / "crds").glob("ray.io_*.yaml"))
    if not files:
        pytest.skip(f"{shared_dir}/crds holds no CRDs to validate against")
    found = [CrdSchema(file) for file in files if "raycronjobs" not in file.name]
    return {schema.kind: schema for schema in found}


class TestAgainstTheCustomResourceDefinitions:
    @pytest.mark.parametrize("manifest", [SERVICE, JOB], ids=["RayService", "RayJob"])
    def test_the_resource_is_valid(self, manifest: Manifest, crds: dict[str, CrdSchema]) -> None:
        assert crds[manifest["kind"]].errors(manifest) == []

    @each_cluster
    def test_the_cluster_inside_is_a_valid_ray_cluster(
        self, cluster: Manifest, crds: dict[str, CrdSchema]
    ) -> None:
        manifest = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "spec": cluster}
        assert crds["RayCluster"].errors(manifest) == []

    @pytest.mark.parametrize(
        ("path", "value", "complaint"),
        [
            (["spec", "upgradeStrategie"], {}, "upgradeStrategie"),
            (["spec", "rayClusterConfig", "rayVersion"], 2.6, "2.6"),
            (["spec", "rayClusterConfig", "authOptions", "mode"], "tokn", "tokn"),
            (
                ["spec", "rayClusterConfig", "headGroupSpec", "template", "spec", "volume"],
                [],
                "volume",
            ),
            (["spec", "rayClusterConfig", "workerGroupSpecs", 0, "maxReplicas"], 2**31, "int32"),
            (["spec", "rayClusterConfig", "workerGroupSpecs", 0, "labels"], {"role": 1}, "1"),
            (["spec", "serveService", "spec", "ports", 0, "targetPort"], 80.5, "80.5"),
            (["kind"], "RayServices", "RayService"),
        ],
    )
    def test_a_wrong_field_is_found(
        self, path: list[str | int], value: object, complaint: str, crds: dict[str, CrdSchema]
    ) -> None:
        manifest: Any = copy.deepcopy(SERVICE)
        below = manifest
        for key in path[:-1]:
            below = below[key]
        below[path[-1]] = value
        (error,) = crds["RayService"].errors(manifest)
        assert complaint in error

    def test_a_missing_field_is_found(self, crds: dict[str, CrdSchema]) -> None:
        manifest = copy.deepcopy(SERVICE)
        del manifest["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]
        (error,) = crds["RayService"].errors(manifest)
        assert "template" in error

    def test_an_environment_variable_given_twice_is_found(self, crds: dict[str, CrdSchema]) -> None:
        manifest = copy.deepcopy(SERVICE)
        env = ray_container(pods(manifest["spec"]["rayClusterConfig"])["head"])["env"]
        env.append(env[0])
        (error,) = crds["RayService"].errors(manifest)
        assert "given twice" in error

    def test_claims_and_policies_fit_the_schemas_that_the_definitions_embed(
        self, crds: dict[str, CrdSchema]
    ) -> None:
        """The definitions repeat the specs of the core objects that a cluster may carry."""
        pod = ("spec", "headGroupSpec", "template", "spec")
        claim = (*pod, "volumes", "[]", "ephemeral", "volumeClaimTemplate", "spec")
        rules = ("spec", "networkPolicy", "head", "ingressRules")
        seen = 0
        for document in every_document():
            if document["kind"] == "PersistentVolumeClaim":
                assert crds["RayCluster"].errors(document["spec"], *claim) == []
                seen += 1
            if document["kind"] == "NetworkPolicy":
                assert crds["RayCluster"].errors(document["spec"]["ingress"], *rules) == []
                seen += 1
        assert seen == 5


class TestServeApplication:
    def test_it_fits_the_schema_of_this_ray(self, serve_config: Manifest) -> None:
        from ray.serve.config import ProxyLocation
        from ray.serve.schema import ServeDeploySchema

        schema = ServeDeploySchema.model_validate(serve_config)
        assert [app.import_path for app in schema.applications] == ["serve_app.app:build"]
        assert schema.proxy_location is ProxyLocation.EveryNode

    def test_it_overrides_the_deployment_that_the_builder_makes(
        self, serve_config: Manifest, tmp_path: Path
    ) -> None:
        """Serve refuses a configuration that lists a deployment which the application lacks."""
        from serve_app.app import BuildArgs, build

        key = tmp_path / "key"
        key.write_text("a key for this test only, long enough to be one", encoding="utf-8")
        (application,) = serve_config["applications"]
        args = {"config": str(REPOSITORY / "configs" / "cluster.yaml"), "api.keys": [f"file:{key}"]}
        built = build(BuildArgs.model_validate(args))
        assert application["import_path"] == f"{build.__module__}:{build.__name__}"
        (listed,) = application["deployments"]
        made = built._bound_deployment
        assert listed["name"] == made.name
        assert listed["ray_actor_options"] == made.ray_actor_options
        assert listed["max_ongoing_requests"] == made.max_ongoing_requests

    def test_its_port_is_the_one_that_config_service_and_control_pod_name(
        self, serve_config: Manifest, config: Config
    ) -> None:
        (port,) = SERVICE["spec"]["serveService"]["spec"]["ports"]
        control = ray_container(pods(CLUSTERS["RayService"])["control"])
        ports = {entry["name"]: entry["containerPort"] for entry in control["ports"]}
        assert (config.api.host, config.api.port) == ("0.0.0.0", 8000)
        assert serve_config["http_options"]["host"] == config.api.host
        assert serve_config["http_options"]["port"] == config.api.port
        assert ports["serve"] == port["port"] == config.api.port

    def test_only_the_control_pod_takes_clients(self) -> None:
        """Ready pods of a RayService are endpoints; a port by name drops those without it."""
        (port,) = SERVICE["spec"]["serveService"]["spec"]["ports"]
        having = [
            name
            for name, pod in pods(CLUSTERS["RayService"]).items()
            for entry in ray_container(pod)["ports"]
            if entry["name"] == port["targetPort"]
        ]
        assert having == ["control"]
        assert SERVICE["spec"]["excludeHeadPodFromServeSvc"] is True

    def test_every_deployment_runs_where_the_database_file_is(
        self, serve_config: Manifest, config: Config
    ) -> None:
        deployments = serve_config["applications"][0]["deployments"]
        assert deployments
        for deployment in deployments:
            options = deployment["ray_actor_options"]
            assert options["label_selector"] == config.cluster.orchestrator_node.labels
            assert "fallback_strategy" not in options

    def test_it_reads_the_mounted_configuration(self, serve_config: Manifest) -> None:
        (application,) = serve_config["applications"]
        control = pods(CLUSTERS["RayService"])["control"]
        mounts = {m["name"]: m["mountPath"] for m in ray_container(control)["volumeMounts"]}
        (data,) = (
            d["data"] for d in every_document() if d["metadata"]["name"] == "familiar-config"
        )
        assert application["args"]["config"] in {f"{mounts['config']}/{key}" for key in data}


class TestTheCluster:
    @each_cluster
    def test_the_head_has_no_work(self, cluster: Manifest) -> None:
        head = cluster["headGroupSpec"]
        assert head["rayStartParams"]["num-cpus"] == "0"
        assert head["rayStartParams"]["num-gpus"] == "0"
        assert "resources" not in head
        assert (
            "nvidia.com/gpu" not in ray_container(head["template"]["spec"])["resources"]["limits"]
        )
        assert "volumes" not in head["template"]["spec"]

    @each_cluster
    def test_dead_nodes_are_noticed_as_soon_as_locally(self, cluster: Manifest) -> None:
        env = {e["name"]: e.get("value") for e in ray_container(pods(cluster)["head"])["env"]}
        assert {
            f"RAY_{key}": str(value) for key, value in HEALTH_CHECK.items()
        }.items() <= env.items()

    @each_cluster
    def test_there_is_exactly_one_control_pod_and_nothing_scales(
        self, cluster: Manifest, config: Config
    ) -> None:
        wanted = config.cluster.orchestrator_node.labels
        matching = [
            group
            for group in groups(cluster).values()
            if wanted.items() <= group.get("labels", {}).items()
        ]
        assert [group["groupName"] for group in matching] == ["control"]
        assert cluster["enableInTreeAutoscaling"] is False
        for group in groups(cluster).values():
            assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 1

    @each_cluster
    def test_every_replica_has_its_node_and_its_gpu(
        self, cluster: Manifest, config: Config
    ) -> None:
        used: dict[str, set[int | str]] = {}
        for name, pool in config.pools.items():
            for replica in pool.replicas:
                (group,) = (
                    group
                    for group in groups(cluster).values()
                    if replica.node.labels.items() <= group["labels"].items()
                )
                assert replica.node.labels, f"{name} would go to any node"
                used.setdefault(group["groupName"], set()).update(replica.gpus)
        there = {
            name: set(range(int(ray_container(pod)["resources"]["limits"]["nvidia.com/gpu"])))
            for name, pod in pods(cluster).items()
            if "nvidia.com/gpu" in ray_container(pod)["resources"]["limits"]
        }
        assert used == there

    @each_cluster
    def test_the_models_are_below_the_mount_of_their_pods(
        self, cluster: Manifest, config: Config
    ) -> None:
        for pool in config.pools.values():
            for replica in pool.replicas:
                pod = pods(cluster)[replica.node.labels["familiar.dev/pool"]]
                mounts = {m["name"]: m["mountPath"] for m in ray_container(pod)["volumeMounts"]}
                assert pool.model.startswith(f"{mounts['models']}/")

    @each_cluster
    def test_gpu_pods_wait_until_their_models_are_there(
        self, cluster: Manifest, config: Config
    ) -> None:
        for pool in config.pools.values():
            for replica in pool.replicas:
                pod = pods(cluster)[replica.node.labels["familiar.dev/pool"]]
                (waiting,) = pod["initContainers"]
                assert waiting["command"][-1].startswith(f"until [ -d {pool.model} ]; do ")

    @each_cluster
    def test_database_and_workspaces_are_on_the_claim(
        self, cluster: Manifest, config: Config
    ) -> None:
        control = ray_container(pods(cluster)["control"])
        (path,) = (m["mountPath"] for m in control["volumeMounts"] if m["name"] == "state")
        assert config.store.url.startswith(f"sqlite:///{path}/")
        assert config.workspace.root.startswith(f"{path}/")

    @each_cluster
    def test_resources_and_start_parameters_are_not_mixed(self, cluster: Manifest) -> None:
        """KubeRay refuses a group that has both, and labels among the start parameters."""
        for group in [cluster["headGroupSpec"], *groups(cluster).values()]:
            params = group.get("rayStartParams", {})
            assert "labels" not in params
            assert not group.get("resources") or not {
                "num-cpus", "num-gpus", "memory", "resources",
            } & set(params)  # fmt: skip

    def test_no_second_orchestrator_is_started_beside_the_first(self) -> None:
        assert SERVICE["spec"]["upgradeStrategy"] == {"type": "None"}
        claims = {
            d["metadata"]["name"]: d["spec"]["accessModes"]
            for d in every_document()
            if d["kind"] == "PersistentVolumeClaim"
        }
        assert claims["familiar-state"] == claims["familiar-job-state"] == ["ReadWriteOncePod"]

    def test_the_jobs_cluster_is_the_services_without_serve(self) -> None:
        service, job = (copy.deepcopy(cluster) for cluster in CLUSTERS.values())
        for cluster in (service, job):
            for group in [cluster["headGroupSpec"], *groups(cluster).values()]:
                instance = group["template"]["metadata"]["labels"].pop("app.kubernetes.io/instance")
                assert instance in {"familiar", "familiar-job"}
            control = pods(cluster)["control"]
            container = ray_container(control)
            del container["readinessProbe"]
            container["ports"] = [p for p in container["ports"] if p["name"] != "serve"]
            for owner, field in ((container, "volumeMounts"), (control, "volumes")):
                owner[field] = [o for o in owner[field] if o["name"] not in ("goal", "api-key")]
            for volume in control["volumes"]:
                if volume["name"] == "state":
                    assert volume["persistentVolumeClaim"].pop("claimName") in {
                        "familiar-state", "familiar-job-state",
                    }  # fmt: skip
        assert job == service


class TestTheJob:
    def test_it_runs_the_goal_that_is_mounted(self) -> None:
        words = JOB["spec"]["entrypoint"].split()
        options = dict(zip(words[3::2], words[4::2], strict=True))
        assert words[:3] == ["python", "-m", "serve_app.job"]
        assert set(options) == {"--file", "--config"}
        control = pods(CLUSTERS["RayJob"])["control"]
        data = {d["metadata"]["name"]: d["data"] for d in every_document() if "data" in d}
        mounts = {m["name"]: m["mountPath"] for m in ray_container(control)["volumeMounts"]}
        files = {
            f"{mounts[volume['name']]}/{key}"
            for volume in control["volumes"]
            if "configMap" in volume
            for key in data[volume["configMap"]["name"]]
        }
        assert files >= set(options.values())

    def test_its_entrypoint_runs_in_the_control_pod(self) -> None:
        asked = yaml.safe_load(JOB["spec"]["entrypointResources"])
        offering = [
            name
            for name, group in groups(CLUSTERS["RayJob"]).items()
            if asked.keys() <= group.get("resources", {}).keys()
        ]
        assert asked
        assert offering == ["control"]

    def test_it_takes_its_cluster_down_and_is_not_repeated(self, config: Config) -> None:
        assert JOB["spec"]["shutdownAfterJobFinishes"] is True
        assert JOB["spec"]["backoffLimit"] == 0
        assert JOB["spec"]["activeDeadlineSeconds"] > config.budgets.wall_s
