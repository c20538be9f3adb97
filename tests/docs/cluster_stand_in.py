"""Answers `kubectl` without a cluster: keeps applied objects, and rejects as a cluster would.

`python cluster_stand_in.py SUBCOMMAND …`, with two variables: CLUSTER is the folder with the
objects (`objects.json`) and the pods' file system (`files/`), KUBECTL the real program, which
renders folders, makes Secrets and knows the options. A complaint goes to stderr with exit code 1.

Checked are options, folders, the definitions of KubeRay, names that one object uses of another,
objects that cannot be changed, conditions, labels that select one pod, containers, and ports.
Commands for a container run here, with the pod's paths below `files/`. Pods are ready and jobs
complete at once.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
DEFINITIONS = {
    "RayService": "ray.io_rayservices.yaml",
    "RayJob": "ray.io_rayjobs.yaml",
}
ONCE = {"RayJob", "Job"}
"""Kinds whose spec stays as it was made."""
CONDITIONS = {
    "job": {"condition=complete"},
    "pod": {"condition=Ready"},
    "rayservice": {"condition=Ready"},
    "rayjob": {"jsonpath={.status.jobDeploymentStatus}=Running"},
}


def load_documents(text: str) -> list[Manifest]:
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


class Rejected(Exception):
    """What a cluster, or kubectl itself, would say."""


def references(value: Any, key: str) -> list[Any]:
    """Every value of `key`, at any depth."""
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    found = [value[key]] if isinstance(value, dict) and key in value else []
    return found + [item for each in below for item in references(each, key)]


class Cluster:
    """The objects of one namespace."""

    def __init__(self, folder: Path, kubectl: str) -> None:
        self.folder = folder
        self.kubectl = kubectl
        self.store = folder / "objects.json"
        self.found = self.store.read_text() if self.store.exists() else "[]"
        self.objects: list[Manifest] = json.loads(self.found)

    def save(self) -> None:
        """Commands of one pipe run side by side: one that changes nothing leaves the file alone."""
        text = json.dumps(self.objects)
        if text == self.found:
            return
        made = self.store.with_suffix(f".{os.getpid()}")
        made.write_text(text)
        made.replace(self.store)

    def find(self, kind: str, name: str) -> Manifest | None:
        for item in self.objects:
            if (item["kind"].lower(), item["metadata"]["name"]) == (kind.lower(), name):
                return item
        return None

    def need(self, kind: str, name: str) -> Manifest:
        found = self.find(kind, name)
        if found is None:
            raise Rejected(f"{kind} {name} is not there")
        return found

    def real(self, *words: str) -> str:
        done = subprocess.run(
            [self.kubectl, *words], capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode:
            raise Rejected(done.stderr)
        return done.stdout

    def help(self, *words: str) -> str:
        """Kept from one command to the next: a start of kubectl costs as much as a rendering."""
        kept = self.folder / f"help {' '.join(words)}"
        if not kept.exists():
            kept.write_text(self.real(*words))
        return kept.read_text()

    def check_options(self, words: list[str]) -> None:
        """Every option of the command line is one that kubectl's help names."""
        sub = words[: 3 if words[0] == "create" else 1]
        known = self.help(*sub, "--help") + self.help("options")
        for word in words[: words.index("--")] if "--" in words else words:
            if word.startswith("-") and word != "-":
                name = word.split("=")[0]
                if f"    {name}" not in known and f", {name}" not in known:
                    raise Rejected(f"kubectl {' '.join(sub)} has no option {name}")

    def take(self, document: Manifest) -> None:
        kind, name = document["kind"], document["metadata"]["name"]
        before = self.find(kind, name)
        if before is not None and kind in ONCE and before["spec"] != document["spec"]:
            raise Rejected(f"{kind} {name} exists, and its spec cannot be changed")
        if before is not None and kind == "RayJob":
            raise Rejected(f"RayJob {name} exists; it would not run a second time")
        if file := DEFINITIONS.get(kind):
            from tests.k8s.crd import CrdSchema

            crds = Path(os.environ["DEFINITIONS"])
            if errors := CrdSchema(crds / file).errors(document):
                raise Rejected("\n".join(errors))
        if before is not None:
            self.objects.remove(before)
        self.objects.append(document)

    def check_names(self, document: Manifest) -> None:
        for reference in references(document, "secretKeyRef"):
            if not reference.get("optional"):
                secret = self.need("Secret", reference["name"])
                if reference["key"] not in secret["data"]:
                    raise Rejected(f"Secret {reference['name']} has no key {reference['key']}")
        for options in references(document, "authOptions"):
            self.need("Secret", options["secretName"])
        for volume in references(document, "configMap"):
            self.need("ConfigMap", volume["name"])
        for volume in references(document, "secret"):
            if not volume.get("optional"):
                self.need("Secret", volume["secretName"])
        for claim in references(document, "claimName"):
            self.need("PersistentVolumeClaim", claim)

    def pods(self) -> Iterator[tuple[str, dict[str, str], Manifest]]:
        """Name, labels and spec of each pod that the objects make."""
        for item in self.objects:
            if item["kind"] == "Pod":
                yield item["metadata"]["name"], item["metadata"]["labels"], item["spec"]
            for cluster in references(item, "rayClusterConfig") + references(
                item, "rayClusterSpec"
            ):
                for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
                    template = group["template"]
                    labels = template["metadata"]["labels"] | group.get("labels", {})
                    name = f"{item['metadata']['name']}-{group.get('groupName', 'head')}"
                    yield name, labels, template["spec"]

    def ports(self, service: str) -> set[int]:
        """The operator makes the Service of a RayService, and one for the head of its cluster."""
        for item in self.objects:
            if item["kind"] == "RayService":
                made = item["spec"]["serveService"]
                if service == made["metadata"]["name"]:
                    return {port["port"] for port in made["spec"]["ports"]}
                if service == f"{item['metadata']['name']}-head-svc":
                    head = item["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
                    return {port["containerPort"] for port in head["containers"][0]["ports"]}
        raise Rejected(f"service {service} is not there")


def apply(cluster: Cluster, words: list[str]) -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("-k")
    asked.add_argument("-f")
    where = asked.parse_args(words)
    if where.k:
        text = cluster.real("kustomize", where.k)
    else:
        text = sys.stdin.read() if where.f == "-" else Path(where.f).read_text(encoding="utf-8")
    documents = load_documents(text)
    if not documents:
        raise Rejected("no objects passed to apply")
    for document in documents:
        cluster.take(document)
    for document in documents:
        cluster.check_names(document)
    print(*(f"{d['kind']}/{d['metadata']['name']} configured" for d in documents), sep="\n")


def create(cluster: Cluster, words: list[str]) -> None:
    dry = "--dry-run=client" in words
    extra = [] if dry else ["--dry-run=client", "-o", "yaml"]
    text = cluster.real("create", *words, *extra)
    if dry:
        print(text)
        return
    (made,) = load_documents(text)
    if cluster.find(made["kind"], made["metadata"]["name"]):
        raise Rejected(f"{made['kind']} {made['metadata']['name']} exists already")
    cluster.take(made)


def label(cluster: Cluster, words: list[str]) -> None:
    """A namespace's label is of use only if a policy asks for it."""
    if words[0] != "namespace":
        raise Rejected("only namespaces are labelled")
    name, _, value = words[2].partition("=")
    policies = Path("k8s/base/networkpolicy.yaml").read_text(encoding="utf-8")
    asked = references(load_documents(policies), "namespaceSelector")
    if {"matchLabels": {name: value}} not in asked:
        raise Rejected(f"no policy asks for the label {words[2]}")


def wait(cluster: Cluster, words: list[str]) -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("target")
    asked.add_argument("--for", dest="condition")
    asked.add_argument("--timeout")
    found = asked.parse_args(words)
    kind, name = found.target.split("/")
    cluster.need(kind, name)
    if found.condition not in CONDITIONS[kind]:
        raise Rejected(f"a {kind} never has {found.condition}")


def get(cluster: Cluster, words: list[str]) -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("kind")
    asked.add_argument("name", nargs="?")
    asked.add_argument("-l", dest="labels")
    asked.add_argument("-o", dest="output")
    found = asked.parse_args(words)
    if found.kind == "pod":
        print(f"pod/{one_pod(cluster, found.labels)}")
        return
    key = found.output.removeprefix("jsonpath={.data.").removesuffix("}")
    print(cluster.need(found.kind, found.name)["data"][key], end="")


def one_pod(cluster: Cluster, selector: str) -> str:
    wanted = dict(item.split("=") for item in selector.split(","))
    names = [name for name, labels, _ in cluster.pods() if wanted.items() <= labels.items()]
    if len(names) != 1:
        raise Rejected(f"{selector} selects {names}, not one pod")
    return names[0]


def execute(cluster: Cluster, words: list[str]) -> None:
    options, command = words[: words.index("--")], words[words.index("--") + 1 :]
    asked = argparse.ArgumentParser()
    asked.add_argument("pod")
    asked.add_argument("-c", dest="container")
    asked.add_argument("-i", action="store_true")
    found = asked.parse_args(options)
    specs = {name: spec for name, _, spec in cluster.pods()}
    name = found.pod.removeprefix("pod/")
    if name not in specs:
        raise Rejected(f"pod {name} is not there")
    containers = {item["name"]: item for item in specs[name]["containers"]}
    if found.container not in containers:
        raise Rejected(f"pod {name} has no container {found.container}")
    files = cluster.folder / "files"
    volumes = {volume["name"]: volume for volume in specs[name].get("volumes", [])}
    for mount in containers[found.container]["volumeMounts"]:
        data: dict[str, bytes] = {}
        if source := volumes[mount["name"]].get("configMap"):
            texts = cluster.need("ConfigMap", source["name"])["data"]
            data = {key: text.encode() for key, text in texts.items()}
        if source := volumes[mount["name"]].get("secret"):
            secret = cluster.find("Secret", source["secretName"])
            data = {k: base64.b64decode(v) for k, v in (secret or {"data": {}})["data"].items()}
        folder = files / mount["mountPath"].lstrip("/")
        for key, content in data.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(content)
        path = re.compile(rf"{re.escape(mount['mountPath'])}(?![\w-])")
        command = [path.sub(f"{files}{mount['mountPath']}", word) for word in command]
    if command[0] == "python":
        command[0] = sys.executable
    done = subprocess.run(command, check=False, stdin=None if found.i else subprocess.DEVNULL)
    if done.returncode:
        raise Rejected(f"{command[0]} ended with {done.returncode}")


def port_forward(cluster: Cluster, words: list[str]) -> None:
    target, ports = words
    service = target.removeprefix("service/")
    if int(ports.split(":")[1]) not in cluster.ports(service):
        raise Rejected(f"service {service} has no port {ports.split(':')[1]}")


def logs(cluster: Cluster, words: list[str]) -> None:
    """The operator makes a Job of the RayJob's name, which prints the job's log."""
    (target,) = (word for word in words if not word.startswith("-"))
    cluster.need("RayJob", target.removeprefix("job/"))


def delete(cluster: Cluster, words: list[str]) -> None:
    if words[0] == "pod" and words[1] == "-l":
        one_pod(cluster, words[2])
        return
    cluster.objects.remove(cluster.need(words[0], words[1]))


COMMANDS = {
    "apply": apply,
    "create": create,
    "delete": delete,
    "exec": execute,
    "get": get,
    "label": label,
    "logs": logs,
    "port-forward": port_forward,
    "wait": wait,
}


def main() -> int:
    cluster = Cluster(Path(os.environ["CLUSTER"]), os.environ["KUBECTL"])
    words = sys.argv[1:]
    try:
        cluster.check_options(words)
        COMMANDS[words[0]](cluster, words[1:])
    except Rejected as error:
        print(f"kubectl {' '.join(words)}: {error}", file=sys.stderr)
        return 1
    cluster.save()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
