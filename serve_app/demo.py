"""`python -m serve_app.demo`: one goal to finished files, and everything ended again.

What `make demo` runs: a private local Ray, the deployment, the Serve app, the goal submitted over
HTTP and followed, the report, and a clean end; the wall time of each step is told. Ctrl-C at any
moment cancels the run and leaves no process behind. It needs no service and no free port: when the
configuration's port is taken, another is used for this demo.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from familiar.errors import ClusterError
from serve_app.cli.options import Overrides, read_config
from serve_app.cli.output import ExitCode, code_of_outcome, err, explained, out, run_command

if TYPE_CHECKING:
    from familiar.config.schema import Config
    from serve_app.interrupt import Interrupts
    from serve_app.phases import Phases

GOAL = "examples/dental-clinic.md"
CONFIG = "configs/embedded.yaml"


@explained
def demo(
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE", help="File with the goal.")
    ] = GOAL,
    config: Annotated[
        str, typer.Option("--config", "-c", metavar="FILE", help="Configuration file (YAML).")
    ] = CONFIG,
    overrides: Overrides = None,
) -> None:
    """One goal to finished files on an own local Ray, followed live, and everything ended again."""
    from serve_app.cli.options import read_goal_text
    from serve_app.interrupt import catch_interrupts
    from serve_app.phases import Phases

    goal = read_goal_text(None, file)
    settings = read_config(config, overrides)
    phases = Phases(err())
    with catch_interrupts(phases.say) as interrupts:
        try:
            settings = _on_a_free_port(settings, config, overrides, phases)
            code = _work(settings, goal, f" --config {config}", phases, interrupts)
        except KeyboardInterrupt:
            phases.say("Interrupted: everything that was started has ended.")
            raise
    phases.say(f"wall time: {phases.summary()}")
    raise typer.Exit(code)


def _work(
    config: Config, goal: str, options: str, phases: Phases, interrupts: Interrupts
) -> ExitCode:
    from familiar.goal import read_goal
    from familiar.service import SubmitRun
    from serve_app.client.http import HttpService
    from serve_app.doctor.check import refuse_if_missing
    from serve_app.doctor.deployment import look_at_deployment
    from serve_app.follow.report import Hints, print_report
    from serve_app.follow.work import work_on
    from serve_app.host import hosting

    read_goal(goal, max_bytes=config.api.max_goal_bytes)
    refuse_if_missing(look_at_deployment(config, os.environ))
    with hosting(config, phases, interrupts) as host:
        assert host.url is not None
        service = HttpService(host.url, os.environ.get("FAMILIAR_KEY"))
        with phases.phase("run", f"working on the goal at {host.url}"):
            work = work_on(service, SubmitRun(goal), out(), interrupts)
        print_report(work.report, out(), Hints(f"the API at {host.url}, ended now", options))
        service.close()
    return code_of_outcome(work.report.run.status)


def _on_a_free_port(
    config: Config, path: str, overrides: list[str] | None, phases: Phases
) -> Config:
    """The configuration, with another port where its own is taken."""
    from cluster.ports import check_port_free

    try:
        check_port_free(config.api.host, config.api.port, purpose="The API")
    except ClusterError as error:
        with socket.create_server((config.api.host, 0)) as probe:
            port = probe.getsockname()[1]
        phases.say(f"{error.message} This demo uses port {port}.")
        return read_config(path, [*(overrides or []), f"api.port={port}"])
    return config


def main() -> None:
    run_command(demo, "python -m serve_app.demo")


if __name__ == "__main__":
    main()
