"""`python -m serve_app.job`: one goal as a Ray job, for `ray job submit` and KubeRay's RayJob.

It connects to the cluster of the job, whose address and token the job server puts into its
environment. A deployment that others use in the configuration's namespace does the work if it has
this configuration; otherwise the job starts it. The job that leaves last takes it down. It follows
in plain lines, which are the job's log, and its exit code is the run's, so the job succeeds and
fails with the run.

`ray job stop` sends SIGTERM and, seconds later, SIGKILL: the run is cancelled and the deployment
taken down as far as that time allows. Reading the history of a SQLite store wants the job on the
node that holds the file.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from familiar.errors import ClusterError
from serve_app.cli.options import Overrides, read_config
from serve_app.cli.output import HELP, ExitCode, code_of_outcome, err, explained, out, print_json

if TYPE_CHECKING:
    from familiar.config.schema import Config
    from familiar.service import SubmitRun
    from serve_app.follow.report import Report
    from serve_app.interrupt import Interrupts

RAY_ADDRESS = "RAY_ADDRESS"


@explained
def job(
    config: Annotated[
        str,
        typer.Option(
            "--config",
            "-c",
            envvar="FAMILIAR_CONFIG",
            metavar="FILE",
            help="Configuration file (YAML).",
        ),
    ],
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="File with the goal.")
    ] = None,
    goal: Annotated[str | None, typer.Option("--goal", help="Goal of the run, in words.")] = None,
    session: Annotated[
        str | None,
        typer.Option("--session", help="Continue this session, with its workspace and messages."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            envvar=RAY_ADDRESS,
            metavar="HOST:PORT",
            help="GCS address of the cluster; Ray sets it for a job.",
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines: every message, and the report last.")
    ] = False,
) -> None:
    """Work on one goal inside a Ray cluster, and end as the run ended."""
    from familiar.goal import read_goal
    from familiar.service import SubmitRun
    from serve_app.cli.options import read_goal_text
    from serve_app.interrupt import catch_interrupts

    if address is None:
        raise ClusterError(
            f"{RAY_ADDRESS} is not set, so this program does not run as a Ray job.",
            remedy="Submit it with `ray job submit -- python -m serve_app.job …`, or name the "
            "cluster with --address. Without a cluster: familiar run.",
        )
    settings = read_config(config, overrides)
    order = SubmitRun(read_goal_text(goal, file), session)
    read_goal(order.goal, max_bytes=settings.api.max_goal_bytes)
    with catch_interrupts(lambda text: print(text, file=sys.stderr)) as interrupts:
        try:
            report = _work(settings, order, address, interrupts, as_json=as_json)
        except KeyboardInterrupt:
            raise typer.Exit(interrupts.exit_code) from None
    raise typer.Exit(code_of_outcome(report.run.status))


def _work(
    config: Config, order: SubmitRun, address: str, interrupts: Interrupts, *, as_json: bool
) -> Report:
    from serve_app.client.actor import ActorService
    from serve_app.follow.report import Hints, print_report
    from serve_app.follow.work import work_on
    from serve_app.host import hosting
    from serve_app.phases import Phases

    with hosting(config, Phases(err()), interrupts, address=address, http=False, keep=True) as host:
        service = ActorService(host.orchestrator, config)
        work = work_on(service, order, out(), interrupts, as_json=as_json)
        if as_json:
            print_json({"kind": "report", **work.report.as_json()}, line=True)
        else:
            print_report(work.report, out(), Hints(service.where))
        service.close()
    return work.report


def main() -> None:
    """The program."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(epilog=HELP)(job)
    try:
        app(prog_name="python -m serve_app.job")
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    main()
