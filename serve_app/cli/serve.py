"""`familiar serve`: keep a deployment with its API up until Ctrl-C or SIGTERM.

While it does, the command looks at its orchestrator. It says when runs cannot be worked on and when
they can be again. It ends when the deployment has ended, or when another orchestrator that lives
has taken the database.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from familiar.errors import ClusterError
from serve_app.cli.options import ConfigFile, Json, Overrides, need_config
from serve_app.cli.output import err, explained, out, print_json

if TYPE_CHECKING:
    from serve_app.host import Host

DIGITS = re.compile(r"[0-9]+")
LOOK_EVERY_S = 3.0
ANSWER_S = 10.0
GONE_S = 10.0
"""Longer than a newer process takes to replace the orchestrator."""


@explained
def serve(
    config: ConfigFile = None,
    overrides: Overrides = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="GCS address of a running Ray cluster. Default: start a private local Ray.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start Ray, the deployment and its API; Ctrl-C ends them.

    With --address, deploy into a running Ray cluster and end only what this command started.
    """
    from cluster.ports import check_port_free
    from serve_app.doctor.check import refuse_if_missing
    from serve_app.doctor.deployment import look_at_deployment
    from serve_app.follow.report import program
    from serve_app.host import hosting
    from serve_app.interrupt import catch_interrupts
    from serve_app.phases import Phases

    example = "familiar serve --config configs/embedded.yaml"
    settings = need_config(config, overrides, example=example)
    phases = Phases(err())
    with catch_interrupts(phases.say) as interrupts:
        if address is None:
            check_port_free(settings.api.host, settings.api.port, purpose="The API")
            refuse_if_missing(look_at_deployment(settings, os.environ))
        with hosting(settings, phases, interrupts, address=address) as host:
            if as_json:
                print_json(
                    {
                        "url": host.url,
                        "pid": os.getpid(),
                        "deployment": settings.deployment,
                        "ray_directory": str(host.ray_directory or "") or None,
                        "seconds": dict(phases.seconds),
                    },
                    line=True,
                )
            else:
                console = out()
                console.print(f"familiar serves at {host.url}  (pid {os.getpid()})")
                submit = f"{program()} run 'GOAL' --url {host.url} --follow"
                console.print(f"  submit:    {submit}", soft_wrap=True)
                console.print(f"  API:       {host.url}/docs", soft_wrap=True)
                if host.ray_directory is not None:
                    logs = host.ray_directory / "session_latest" / "logs"
                    console.print(f"  Ray logs:  {logs}", soft_wrap=True)
                console.print("  stop:      Ctrl-C")
            watch = _Watch(host, phases.say)
            while True:
                interrupts.wait(LOOK_EVERY_S)
                watch.look()


class _Watch:
    """The state of the deployment as it was last said."""

    def __init__(self, host: Host, say: Callable[[str], None]) -> None:
        self._deployment = host.config.deployment
        self._say = say
        self._told = (True, "")
        self._seen = time.monotonic()

    def look(self) -> None:
        """Say what has changed. Raises `ClusterError` when the deployment will not come back."""
        import ray
        from ray.exceptions import GetTimeoutError, RayActorError

        from actors.deploy import find_orchestrator

        orchestrator = find_orchestrator(self._deployment)
        if orchestrator is None:
            if time.monotonic() - self._seen > GONE_S:
                raise ClusterError(
                    f"Deployment {self._deployment} was ended by another program.",
                    remedy="Start it again with `familiar serve`; its open runs go on then.",
                )
            return
        self._seen = time.monotonic()
        try:
            found = ray.get(orchestrator.readiness.remote(), timeout=ANSWER_S)
        except (RayActorError, GetTimeoutError):
            self._tell(False, ("The orchestrator does not answer; it may be restarting.",))
            return
        if found.fenced:
            raise ClusterError(
                f"Another deployment has taken over. {' '.join(found.reasons)}",
                remedy="Runs that were submitted here go on there.",
            )
        self._tell(found.ready, found.reasons)

    def _tell(self, ready: bool, reasons: tuple[str, ...]) -> None:
        said = " ".join(reasons)
        # The seconds in a reason go up each time; only other words are news.
        state = (ready, DIGITS.sub("", said))
        if state == self._told:
            return
        self._told = state
        if not ready:
            self._say(f"Runs cannot be worked on: {said}")
        else:
            self._say(f"Ready. {said}" if said else "Ready again.")
