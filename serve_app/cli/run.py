"""`familiar run`: a goal to a service, or, where none answers, to a deployment of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from familiar.errors import InputError
from serve_app.cli.options import Session
from serve_app.cli.output import ExitCode, code_of_outcome, err, out, print_json, tell
from serve_app.cli.source import Source, find_service, serving, with_source

if TYPE_CHECKING:
    from familiar.config.schema import Config
    from familiar.service import SubmitRun
    from serve_app.client.http import HttpService
    from serve_app.follow.report import Hints


@with_source
def run(
    source: Source,
    goal: Annotated[
        str | None, typer.Argument(metavar="[GOAL]", help="Goal of the run, in words.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", metavar="FILE", help="File with the goal; - for stdin."),
    ] = None,
    session: Session = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", help="Submitting the same key and goal again returns the same run."
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", help="Show progress until the run ends; the exit code tells how it ended."
        ),
    ] = False,
) -> None:
    """Submit a goal.

    The goal goes to the service at --url or at the address of the configuration. Without --follow
    the command exits with 0 as soon as the run is recorded. If no service runs, the command starts
    a deployment of --config for this run and ends it afterwards.
    """
    from familiar.service import SubmitRun
    from serve_app.cli.options import read_goal_text

    order = SubmitRun(read_goal_text(goal, file), session, idempotency_key)
    settings = source.settings()
    if source.url is None and settings is not None:
        service = serving(settings, source.key)
        if service is None:
            _run_alone(settings, order, follow, source.as_json, source.hints(""))
            return
    else:
        service = find_service(settings, source.url, source.key)
    _run_there(service, order, follow, source.as_json, source.hints(service.where))


def _run_there(
    service: HttpService, order: SubmitRun, follow: bool, as_json: bool, hints: Hints
) -> None:
    """At a service that runs anyway: an interrupt stops the watching, not the run."""
    from serve_app.follow.report import taken_otherwise

    accepted = service.submit(order)
    if as_json:
        document = {"kind": "accepted", **accepted.model_dump(mode="json"), "url": service.where}
        print_json(document, line=follow)
    elif not follow:
        again = "" if accepted.created else " (submitted before with this key)"
        out().print(f"run {accepted.run_id} in session {accepted.session_id}{again}")
        files = ", ".join(accepted.files) or "the goal names none"
        out().print(f"  files:  {files}", soft_wrap=True)
        hint = hints.command(f"show {accepted.run_id} --follow")
        out().print(f"  follow: {hint}", soft_wrap=True)
    for line in taken_otherwise(accepted.taken):
        tell(f"  note: {line}")
    if not follow:
        return
    from serve_app.follow.follow import follow as follow_run
    from serve_app.follow.report import gather, print_report

    try:
        end = follow_run(service, accepted.run_id, out(), as_json=as_json)
    except KeyboardInterrupt:
        console = err()
        console.print(f"Run {accepted.run_id} goes on.")
        for name, words in (
            ("follow", f"show {accepted.run_id} --follow"),
            ("cancel", f"cancel {accepted.run_id}"),
        ):
            console.print(f"  {name}: {hints.command(words)}", soft_wrap=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if not as_json:
        print_report(gather(service, accepted.run_id), out(), hints)
    raise typer.Exit(code_of_outcome(end.outcome))


def _run_alone(config: Config, order: SubmitRun, follow: bool, as_json: bool, hints: Hints) -> None:
    """On a private Ray that ends with this command."""
    from serve_app.doctor.check import refuse_if_missing
    from serve_app.doctor.deployment import look_at_deployment
    from serve_app.follow.report import Hints, print_report
    from serve_app.follow.work import work_on
    from serve_app.host import hosting
    from serve_app.interrupt import catch_interrupts
    from serve_app.phases import Phases

    _check_goal(order, config)
    phases = Phases(err())
    with catch_interrupts(phases.say) as interrupts:
        checks = look_at_deployment(config, os.environ)
        # The goal goes to the orchestrator directly, so neither port nor keys are used.
        refuse_if_missing(c for c in checks if not c.name.startswith(("port", "keys")))
        with hosting(config, phases, interrupts, http=False) as host:
            from serve_app.client.actor import ActorService

            service = ActorService(host.orchestrator, config)
            work = work_on(
                service, order, out(), interrupts, show=follow, as_json=as_json and follow
            )
            if as_json and not follow:
                print_json(work.report.as_json())
            elif not as_json:
                print_report(work.report, out(), Hints(service.where, hints.options))
            service.close()
    raise typer.Exit(code_of_outcome(work.report.run.status))


def _check_goal(order: SubmitRun, config: Config) -> None:
    """Raise `InputError` for a goal that the orchestrator would reject, before anything starts."""
    from familiar.goal import read_goal

    read_goal(order.goal, max_bytes=config.api.max_goal_bytes, files=order.files)
    if order.session_id is not None:
        from serve_app.client.database import DatabaseHistory

        history = DatabaseHistory(config.store.url)
        try:
            if not history.has_session(order.session_id):
                raise InputError(
                    f"There is no session {order.session_id} in {history.where}.",
                    field="--session",
                    remedy="`familiar ls` shows the sessions.",
                )
        finally:
            history.close()
