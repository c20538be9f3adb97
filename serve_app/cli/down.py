"""`familiar down`: end everything of a deployment, on this machine or in a Ray cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from serve_app.cli.options import ConfigFile, Json, Overrides, need_config
from serve_app.cli.output import err, explained, out, print_json


@explained
def down(
    config: ConfigFile = None,
    overrides: Overrides = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            envvar="RAY_ADDRESS",
            metavar="HOST:PORT",
            help="GCS address of the Ray cluster that the deployment runs in.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """End a deployment.

    Its API, orchestrator and replicas end, and its devices are free. Open runs continue when the
    deployment is started again. Without --address, the command ends the `familiar serve` or
    `familiar run` process of this configuration on this machine.
    """
    from serve_app.host import take_down_at
    from serve_app.phases import Phases
    from serve_app.running import end_running

    settings = need_config(config, overrides, example="familiar down --config mine.yaml")
    phases = Phases(err())
    if address is not None:
        ended = take_down_at(settings, address, phases)
    else:
        ended = end_running(settings)
    if as_json:
        print_json({"deployment": settings.deployment, "ended": ended})
    elif ended:
        out().print(f"Deployment {settings.deployment} has ended.")
    else:
        out().print(f"Deployment {settings.deployment} does not run here.")
