"""Bring a whole deployment up for as long as a block runs, and leave nothing behind after it.

Without an address a private local Ray is started and belongs to this process. With one, the
deployment goes into the Ray that is there, where several processes may use it at once
(`actors.users`): the last one to leave takes the deployment down. Everything ends with the block:
by itself, by an error, or by a signal at any moment.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from familiar.config.credentials import credential_variables, engine_variables
from familiar.config.schema import Config
from familiar.errors import ClusterError
from familiar.secret import Secret
from familiar.service import namespace_of
from serve_app.interrupt import Interrupts
from serve_app.phases import Phases
from serve_app.running import recorded_as_running

if TYPE_CHECKING:
    from actors.users import User

# Beyond the engines' own deadline, for placement and for one restart of the orchestrator.
READY_MARGIN_S = 120.0
CLOSE_S = 10.0
END_S = 90.0
TELL_EVERY_S = 10.0
DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Host:
    """A deployment that is up. `ray_directory` is that of a private Ray. The type of the
    orchestrator's handle is Ray's."""

    config: Config
    orchestrator: Any = field(repr=False)
    url: str | None
    ray_directory: Path | None


@contextlib.contextmanager
def hosting(
    config: Config,
    phases: Phases,
    interrupts: Interrupts,
    *,
    address: str | None = None,
    http: bool = True,
) -> Iterator[Host]:
    """Start what is not there yet, wait until runs can be worked on, and end it after the block.

    `http` also starts the API at `api.host` and `api.port`. Without it, a deployment that others
    use is used as it is if it has this configuration, and is never replaced under them; one that
    nobody uses is brought up to date. Raises `FamiliarError`.
    """
    undo = contextlib.ExitStack()
    try:
        directory = _ray(config, phases, interrupts, undo, address)
        host = _deploy(config, phases, interrupts, undo, directory, http=http)
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
) -> Host:
    with phases.phase("service", "starting the orchestrator" + " and the API" * http):
        from actors.deploy import ensure_deployment, find_orchestrator

        # Engines begin to load now and go on loading while Serve starts.
        if directory is not None:
            undo.enter_context(recorded_as_running(config))
            orchestrator = ensure_deployment(config)
            undo.callback(_close, orchestrator, phases)
        else:
            orchestrator = _share(config, phases, undo, http=http)
        if http:
            from serve_app.serving import deploy

            deploy(config, shared=directory is None)
            interrupts.install()
            # The API's replica may have replaced it, if its code is newer than this process's.
            orchestrator = find_orchestrator(config.deployment) or orchestrator
    return Host(config, orchestrator, url_of(config) if http else None, directory)


def _share(config: Config, phases: Phases, undo: contextlib.ExitStack, *, http: bool) -> Any:
    """Become a user of the deployment in a Ray that is there; its orchestrator."""
    from actors.deploy import ensure_deployment, find_orchestrator
    from actors.users import User, users

    namespace = namespace_of(config.deployment)
    user = User("serve" if http else "job", namespace)
    others = users(namespace) - {user.name}
    ends_api = http and _will_end_api(users(namespace, "serve") - {user.name})
    undo.callback(_leave, config, user, ends_api, phases)
    known = find_orchestrator(config.deployment)
    if known is not None and others and not http and _is_right(config, known):
        return known
    return ensure_deployment(config, shared=True)


def _will_end_api(servers: Collection[str]) -> bool:
    """An API that is there already ends with the last of the other `servers`, if there are any;
    otherwise something else deployed it, and it stays."""
    from serve_app.serving import is_deployed

    return bool(servers) or not is_deployed()


def _is_right(config: Config, orchestrator: Any) -> bool:
    """Whether a deployment that others use can be used as it is; False if it is ending. Raises
    `ClusterError` when it has another configuration."""
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
    if running and running != deployment_fingerprint(config):
        raise ClusterError(
            f"Deployment {config.deployment} is in use with another configuration or version.",
            remedy="Use that configuration, end it with `familiar down`, or set another "
            "name and database: --set deployment=NAME --set store.url=….",
        )
    return bool(running)


def _leave(config: Config, user: User, ends_api: bool, phases: Phases) -> None:
    """End the deployment, unless others still use it."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    from actors.deploy import find_orchestrator
    from actors.take_down import take_down
    from actors.users import users

    namespace = namespace_of(config.deployment)
    leaving = {user.name}
    if ends_api and not users(namespace, "serve") - leaving:
        from serve_app.serving import undeploy

        leaving |= users(namespace, "api")
        undeploy()
    if (orchestrator := find_orchestrator(config.deployment)) is not None:
        # One that ends does not live to answer.
        with contextlib.suppress(RayError, GetTimeoutError):
            ray.get(orchestrator.end_unused.remote(sorted(leaving)), timeout=END_S)
    if users(namespace) - leaving:
        phases.note("others use the deployment; it stays up")
    elif find_orchestrator(config.deployment) is None:
        take_down(config.deployment)


def take_down_at(config: Config, address: str, phases: Phases) -> bool:
    """End the deployment in the Ray at `address`; False if it does not run there."""
    import ray

    from actors.take_down import take_down
    from cluster.local import connect
    from serve_app.serving import undeploy

    with phases.phase("Ray", f"connecting to {address}"):
        connect(address, namespace=namespace_of(config.deployment))
    try:
        with phases.phase("shutdown", "ending the deployment"):
            served = undeploy()
            return take_down(config.deployment) or served
    finally:
        ray.shutdown()


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


def url_of(config: Config) -> str:
    """Where this machine reaches the API of `config`."""
    host = config.api.host
    if host in ("0.0.0.0", "::", ""):
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{config.api.port}"
