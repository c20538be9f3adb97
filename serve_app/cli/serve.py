"""`familiar serve`: keep a deployment with its API up until Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from serve_app.cli.options import ConfigFile, Json, Overrides, need_config
from serve_app.cli.output import err, explained, out, print_json

LOOK_EVERY_S = 5.0


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
        try:
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
                while True:
                    interrupts.wait(LOOK_EVERY_S)
        except KeyboardInterrupt:
            raise typer.Exit(interrupts.exit_code) from None
