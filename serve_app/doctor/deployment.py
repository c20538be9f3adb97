"""Checks of one configuration on this machine: engines, devices, store, port, keys."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from familiar.config.schema import Config, PoolConfig
from familiar.errors import ClusterError, ConfigError, FamiliarError
from serve_app.doctor.check import Check, missing, note, ok

GIB = 1024**3
# One SmolLM2-135M replica on the CPU with a context of 4096, as measured.
EMBEDDED_GIB = 3.5
WORKSPACE_GIB = 0.5
CONNECT_S = 3.0


def look_at_deployment(
    config: Config, environ: Mapping[str, str], *, calls: bool = False
) -> list[Check]:
    """Everything that `config` needs of this machine. With `calls`, servers at URLs get a real
    call each, which takes longer than a look at their ports."""
    return [
        *_engines(config, environ, calls=calls),
        *_devices(config),
        *_memory(config),
        _store(config),
        _workspace(config),
        _keys(config, environ),
        _port(config),
    ]


def _engines(config: Config, environ: Mapping[str, str], *, calls: bool) -> Iterator[Check]:
    if calls:
        from serve_app.doctor.servers import look_at_servers

        yield from look_at_servers(config)
    for name, pool in config.pools.items():
        where = f"pool {name}"
        if pool.engine == "vllm":
            yield from _vllm(where, pool)
        elif pool.engine == "openai":
            yield from _urls(where, pool, environ, called=calls)
        else:
            yield _script(where, pool)


def _vllm(where: str, pool: PoolConfig) -> Iterator[Check]:
    from actors.engines.weights import resolve_model

    if importlib.util.find_spec("vllm") is None:
        yield missing(
            where,
            "vLLM is not installed.",
            "On GPUs: pip install '.[vllm]'; on CPUs: scripts/setup.",
        )
    if not any(replica.gpus for replica in pool.replicas):
        try:
            ctypes.CDLL("libnuma.so.1")
        except OSError:
            yield missing(
                where, "The CPU engine needs libnuma.so.1.", "Debian: apt-get install libnuma1."
            )
    try:
        model = resolve_model(pool.model)
    except FamiliarError as error:
        yield missing(where, f"{pool.model}: {error.message}", error.remedy)
        return
    if Path(model).expanduser().is_dir():
        yield ok(where, f"weights in {model}")
    elif model.startswith(("/", "~", ".")):
        yield missing(where, f"There are no weights in {model}.", "Correct pools.….model.")
    else:
        yield note(where, f"{model} is a hub name and is downloaded unless it is cached.")


def _urls(
    where: str, pool: PoolConfig, environ: Mapping[str, str], *, called: bool
) -> Iterator[Check]:
    if pool.api_key_env and not environ.get(pool.api_key_env):
        yield missing(
            where,
            f"{pool.api_key_env} is not set; it must hold the key of the server.",
            f"export {pool.api_key_env}=…",
        )
    if called:
        return
    for url in dict.fromkeys(replica.url for replica in pool.replicas if replica.url):
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), CONNECT_S).close()
        except OSError as error:
            yield note(
                where,
                f"Cannot connect to {url} ({error.strerror or error}).",
                "Start that server; until then the calls of this pool wait.",
            )
        else:
            yield ok(where, f"{url} takes connections")


def _script(where: str, pool: PoolConfig) -> Check:
    from actors.engines.scripted.script import load_script

    try:
        load_script(pool.engine_args.get("script"))
    except ConfigError as error:
        return missing(where, error.message, error.remedy or "Correct the script.")
    return ok(where, "scripted answers instead of a model")


def _devices(config: Config) -> Iterator[Check]:
    """Only of replicas without node labels: those are on other machines, perhaps."""
    from cluster.inventory import Gpu, nvml_gpus, usable_cores

    here = [
        replica
        for pool in config.pools.values()
        for replica in pool.replicas
        if not replica.node.labels
    ]
    cores = {core for replica in here for core in replica.cores}
    if cores:
        usable = usable_cores()
        if lost := sorted(cores - set(usable)):
            yield missing(
                "cores",
                f"The configuration names {_listed(lost)}; this process may use {_listed(usable)}.",
                "Name other cores, or give the container more.",
            )
        else:
            yield ok("cores", f"{_listed(sorted(cores))} of {_listed(usable)}")
    named = {str(gpu) for replica in here for gpu in replica.gpus}
    if named:
        logical = config.cluster.logical_gpus
        gpus = nvml_gpus() or tuple(Gpu(index) for index in range(logical))
        if lost_gpus := sorted(n for n in named if not any(gpu.is_called(n) for gpu in gpus)):
            there = _listed([gpu.index for gpu in gpus]) if gpus else "none"
            yield missing(
                "GPUs",
                f"The configuration names {', '.join(lost_gpus)}; there are: {there}.",
                "Correct the replicas' gpus (nvidia-smi -L lists them); a rehearsal without GPUs "
                "sets cluster.logical_gpus.",
            )
        else:
            yield ok("GPUs", f"{', '.join(sorted(named))} of {_listed([g.index for g in gpus])}")


def _memory(config: Config) -> Iterator[Check]:
    replicas = sum(
        len(pool.replicas)
        for pool in config.pools.values()
        if pool.engine == "vllm" and pool.model.startswith("embedded:")
    )
    free = psutil.virtual_memory().available / GIB
    if replicas and free < replicas * EMBEDDED_GIB:
        yield note(
            "memory",
            f"{free:.1f} GiB are free; {replicas} embedded replicas take about "
            f"{replicas * EMBEDDED_GIB:.1f} GiB.",
            "Stop other programs, or remove a replica from the configuration.",
        )


def _store(config: Config) -> Check:
    from actors.store.address import Address
    from actors.store.queries import Reader
    from actors.store.schema import NoTables, OldSchema

    try:
        address = Address.parse(config.store.url)
        if address.path is not None and not address.path.exists():
            return _can_make(address.path)
        if address.path is not None and not os.access(address.path, os.W_OK):
            return missing("store", f"{address} is read-only for this user.", "Correct its mode.")
        Reader.open(config.store.url).close()
    except OldSchema:
        return ok("store", f"{address} is of an older version; a start brings it up to date")
    except NoTables:
        return ok("store", f"{address} is empty; the first start makes its tables")
    except FamiliarError as error:
        return missing("store", error.message, error.remedy)
    return ok("store", str(address))


def _can_make(path: Path) -> Check:
    parent = _nearest(path.parent)
    if not os.access(parent, os.W_OK | os.X_OK):
        return missing(
            "store", f"{path} does not exist and {parent} is not writable.", "Correct store.url."
        )
    return ok("store", f"{path} is created by the first start")


def _workspace(config: Config) -> Check:
    settings = config.workspace
    if settings.repository is not None:
        repository = Path(settings.repository).expanduser()
        if not (repository / ".git").exists():
            return missing(
                "workspace",
                f"{repository} is not a git repository.",
                f"Make it one: git init {repository}",
            )
        root = repository
    else:
        root = _nearest(Path(settings.root).expanduser())
    if not os.access(root, os.W_OK | os.X_OK):
        return missing("workspace", f"{root} is not writable.", "Correct workspace.root.")
    free = shutil.disk_usage(root).free / GIB
    if free < WORKSPACE_GIB:
        return missing("workspace", f"{root}: {free:.2f} GiB are free.", "Free some space.")
    return ok("workspace", f"{root}: {free:.1f} GiB are free")


def _keys(config: Config, environ: Mapping[str, str]) -> Check:
    if config.api.auth == "none":
        return note("keys", f"auth: none; the API listens on {config.api.host} only.")
    from serve_app.auth import load_keys

    try:
        digests = load_keys(config.api.keys, environ)
    except ConfigError as error:
        return missing("keys", error.message, error.remedy or "Set the key.")
    return ok("keys", f"{len(digests)} bearer key(s)")


def _port(config: Config) -> Check:
    from cluster.ports import check_port_free

    name = f"port {config.api.port}"
    try:
        check_port_free(config.api.host, config.api.port, purpose="The API")
    except ClusterError as error:
        from serve_app.client.http import HttpService, Presence
        from serve_app.host import url_of

        service = HttpService(url_of(config))
        presence = service.presence()
        service.close()
        if presence is Presence.PRESENT:
            return note(name, f"A familiar service runs at {service.url} already.")
        return missing(name, error.message, f"{error.remedy} Or set api.port.")
    return ok(name, f"free on {config.api.host}")


def _nearest(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _listed(numbers: list[int] | tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers)) or "none"
