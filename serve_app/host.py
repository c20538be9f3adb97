"""Bring a whole deployment up for as long as a block runs, and leave nothing behind after it.

Without an address a private local Ray is started and belongs to this process. With one, the
deployment goes into the Ray that is there, where several processes may use it at once: each holds a
lease, and the last one to leave takes the deployment down. Everything ends with the block: by
itself, by an error, or by a signal at any moment.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from familiar.config.credentials import credential_variables, engine_variables
from familiar.config.schema import Config
from familiar.errors import ClusterError, FamiliarError
from familiar.secret import Secret
from familiar.service import namespace_of
from serve_app.interrupt import Interrupts
from serve_app.lease import Lease
from serve_app.phases import Phases
from serve_app.running import recorded_as_running

# Beyond the engines' own deadline, for placement and for one restart of the orchestrator.
READY_MARGIN_S = 120.0
CLOSE_S = 10.0
TELL_EVERY_S = 10.0
DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Host:
    """A deployment that is up. `ray_directory` is that of a private Ray; `started` says whether
    this process brought the deployment up. The type of the orchestrator's handle is Ray's."""

    config: Config
    orchestrator: Any = field(repr=False)
    url: str | None
    ray_directory: Path | None
    started: bool


@contextlib.contextmanager
def hosting(
    config: Config,
    phases: Phases,
    interrupts: Interrupts,
    *,
    address: str | None = None,
    http: bool = True,
    keep: bool = False,
) -> Iterator[Host]:
    """Start what is not there yet, wait until runs can be worked on, and end it after the block.

    `http` also starts the API at `api.host` and `api.port`. With `keep`, a deployment that others
    use is used as it is if it has this configuration, and is never replaced under them; one that
    nobody uses is brought up to date. Raises `FamiliarError`.
    """
    undo = contextlib.ExitStack()
    try:
        directory = _ray(config, phases, interrupts, undo, address)
        host = _deploy(config, phases, interrupts, undo, directory, http=http, keep=keep)
        with phases.phase("engines", "loading until every pool has a ready replica"):
            _wait(config, host.orchestrator, phases, interrupts)
        yield host
    finally:
        with interrupts.shielded(), phases.phase("shutdown", "ending what was started"):
            undo.close()


def _ray(
    config: Config,
    phases: Phases,
    interrupts: Interrupts,
    undo: contextlib.ExitStack,
    address: str | None,
) -> Path | None:
    """Start or connect; the directory of the private Ray, if it is one."""
    doing = "starting a private one" if address is None else f"connecting to {address}"
    with phases.phase("Ray", doing):
        from cluster.local import connect, start_local

        namespace = namespace_of(config.deployment)
        logging.getLogger("ray").setLevel(logging.ERROR)
        directory: Path | None = None
        if address is not None:
            import ray

            undo.callback(ray.shutdown)
            connect(address, namespace=namespace)
        else:
            cluster = start_local(
                config.cluster,
                namespace=namespace,
                hidden=credential_variables(config),
                keys={name: Secret(os.environ.get(name, "")) for name in engine_variables(config)},
            )
            undo.callback(cluster.stop)
            directory = cluster.temp_dir
        interrupts.install()
    return directory


def _deploy(
    config: Config,
    phases: Phases,
    interrupts: Interrupts,
    undo: contextlib.ExitStack,
    directory: Path | None,
    *,
    http: bool,
    keep: bool,
) -> Host:
    with phases.phase("service", "starting the orchestrator" + " and the API" * http):
        from actors.deploy import ensure_deployment, find_orchestrator

        lease = None
        if directory is None:
            lease = Lease(namespace_of(config.deployment))
            undo.callback(_leave, config, lease, phases)
        else:
            undo.enter_context(recorded_as_running(config))
        known = find_orchestrator(config.deployment)
        # Engines begin to load now and go on loading while Serve starts.
        if keep and known is not None and lease is not None and _in_use(lease):
            orchestrator = _as_it_is(config, known)
        else:
            if lease is not None and known is None:
                lease.mark()
            orchestrator = ensure_deployment(config)
        if directory is not None:
            undo.callback(_close, orchestrator, phases)
        if http:
            _serve(config, undo, own_ray=directory is not None)
            interrupts.install()
            # The API's replica may have replaced it, if its code is newer than this process's.
            orchestrator = find_orchestrator(config.deployment) or orchestrator
    return Host(config, orchestrator, url_of(config) if http else None, directory, known is None)


def _in_use(lease: Lease) -> bool:
    """Whether others started the deployment or work with it."""
    return lease.others() > 0 or not lease.marked() or _has_service()


def _has_service() -> bool:
    from ray import serve

    from serve_app.serving import APPLICATION

    return APPLICATION in serve.status().applications


def _as_it_is(config: Config, orchestrator: Any) -> Any:
    """A deployment that others use. Raises `ClusterError` when it has another configuration."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    from actors.fingerprint import deployment_fingerprint

    try:
        running = ray.get(orchestrator.fingerprint.remote(), timeout=CLOSE_S)
    except (RayError, GetTimeoutError):
        raise ClusterError(
            f"The orchestrator of deployment {config.deployment} does not answer.",
            remedy="It may be restarting; submit the job again.",
        ) from None
    if running != deployment_fingerprint(config):
        raise ClusterError(
            f"Deployment {config.deployment} is in use with another configuration or version.",
            remedy="Use that configuration, end it with `familiar down`, or set another "
            "name and database: --set deployment=NAME --set store.url=….",
        )
    return orchestrator


def _leave(config: Config, lease: Lease, phases: Phases) -> None:
    """Take the deployment down, unless jobs or a service still use it."""
    if lease.leave() or not lease.marked() or _has_service():
        phases.note("others use the deployment; it stays up")
    else:
        _take_down(config)
        lease.clear()


def take_down_at(config: Config, address: str, phases: Phases) -> bool:
    """End the deployment in the Ray at `address`; False if it does not run there."""
    import ray
    from ray import serve

    from actors.deploy import find_orchestrator, take_down
    from cluster.local import connect
    from serve_app.serving import APPLICATION

    with phases.phase("Ray", f"connecting to {address}"):
        connect(address, namespace=namespace_of(config.deployment))
    try:
        with phases.phase("shutdown", "ending the deployment"):
            found = find_orchestrator(config.deployment) is not None
            if served := APPLICATION in serve.status().applications:
                serve.delete(APPLICATION)
            take_down(config)
    finally:
        ray.shutdown()
    return found or served


def _serve(config: Config, undo: contextlib.ExitStack, *, own_ray: bool) -> None:
    from ray import serve

    from serve_app.serving import APPLICATION, deploy

    # Importing Serve sets up its logger; what it tells here stands in the phases already.
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    if not own_ray and APPLICATION not in serve.status().applications:
        undo.callback(serve.delete, APPLICATION)
    deploy(config)


def _wait(config: Config, orchestrator: Any, phases: Phases, interrupts: Interrupts) -> None:
    from actors.deploy import wait_ready

    told: tuple[tuple[str, ...], float] = ((), 0.0)

    def report(reasons: tuple[str, ...]) -> None:
        nonlocal told
        interrupts.check()
        now = time.monotonic()
        # The seconds in a reason go up each time; only other words are news.
        news = tuple(DIGITS.sub("", reason) for reason in reasons)
        if news != told[0] or now - told[1] >= TELL_EVERY_S:
            told = (news, now)
            for reason in reasons:
                phases.note(reason)

    longest = max(pool.start_deadline_s for pool in config.pools.values())
    wait_ready(orchestrator, timeout_s=longest + READY_MARGIN_S, report=report)


def _close(orchestrator: Any, phases: Phases) -> None:
    """Let it finish what it is writing. Its Ray ends right after, so a failure changes nothing."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    try:
        ray.get(orchestrator.close.remote(), timeout=CLOSE_S)
    except GetTimeoutError:
        phases.note(f"the orchestrator did not end its work in {CLOSE_S:g} s and is ended now")
    except RayError:
        pass


def _take_down(config: Config) -> None:
    from actors.deploy import take_down

    with contextlib.suppress(FamiliarError):
        take_down(config)


def url_of(config: Config) -> str:
    """Where this machine reaches the API of `config`."""
    host = config.api.host
    if host in ("0.0.0.0", "::", ""):
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{config.api.port}"
