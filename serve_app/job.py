"""`python -m serve_app.job`: one goal as a Ray job, for `ray job submit` and KubeRay's RayJob.

It connects to the cluster of the job, whose address and token the job server puts into its
environment. A deployment of that name that others use does the work if it has this configuration,
and is rejected otherwise; where nobody uses one, the job starts it, in place of one that a killed
job left. The last to leave takes it down. The job follows in plain lines, which are its log, and
its exit code is the run's, so it succeeds and fails with the run.

`ray job stop` sends SIGTERM and, seconds later, SIGKILL: the run is cancelled and the deployment
taken down as far as that time allows. Reading the history of a SQLite store wants the job on the
node that holds the file.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from familiar.errors import ClusterError, StoreError
from serve_app.cli.options import ConfigPath, Overrides, Session, read_config
from serve_app.cli.output import (
    code_of_outcome,
    err,
    explained,
    out,
    print_json,
    run_command,
)

if TYPE_CHECKING:
    from familiar.config.schema import Config
    from familiar.service import SubmitRun
    from serve_app.follow.report import Report
    from serve_app.interrupt import Interrupts
    from serve_app.phases import Phases

RAY_ADDRESS = "RAY_ADDRESS"
MAX_TOLD = 5


@explained
def job(
    config: ConfigPath,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="File with the goal.")
    ] = None,
    goal: Annotated[str | None, typer.Option("--goal", help="Goal of the run, in words.")] = None,
    session: Session = None,
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
        report = _work(settings, order, address, interrupts, as_json=as_json)
    raise typer.Exit(code_of_outcome(report.run.status))


def _work(
    config: Config, order: SubmitRun, address: str, interrupts: Interrupts, *, as_json: bool
) -> Report:
    from serve_app.client.actor import ActorService
    from serve_app.follow.report import Hints, print_report
    from serve_app.follow.work import work_on
    from serve_app.host import hosting
    from serve_app.phases import Phases

    phases = Phases(err())
    _tell_open_runs(config, phases)
    with hosting(config, phases, interrupts, address=address, http=False) as host:
        service = ActorService(host.orchestrator, config)
        work = work_on(service, order, out(), interrupts, as_json=as_json)
        if as_json:
            print_json({"kind": "report", **work.report.as_json()}, line=True)
        else:
            print_report(work.report, out(), Hints(service.where))
        service.close()
    return work.report


def _tell_open_runs(config: Config, phases: Phases) -> None:
    """Runs of the same database that go on beside this one, e.g. of a job that was killed."""
    from serve_app.client.database import DatabaseHistory

    try:
        history = DatabaseHistory(config.store.url)
    except StoreError:  # none yet; what else it may be, the start will say
        return
    for run in history.runs(MAX_TOLD, status="running").runs:
        phases.say(f"Run {run.run_id}, which another program submitted, is open and goes on.")
    history.close()


def main() -> None:
    run_command(job, "python -m serve_app.job")


if __name__ == "__main__":
    main()
