"""One goal from submission to report: the common part of `familiar run`, the demo and the job."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from rich.console import Console

from familiar.errors import FamiliarError
from familiar.service import SubmitRun
from serve_app.client.service import Service
from serve_app.follow.follow import follow
from serve_app.follow.report import Report, gather
from serve_app.interrupt import Interrupts
from serve_app.models import RunAccepted

CANCEL_S = 5.0
_CANCEL_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Work:
    """The accepted run, and its state at the end."""

    accepted: RunAccepted
    report: Report


def work_on(
    service: Service,
    order: SubmitRun,
    console: Console,
    interrupts: Interrupts,
    *,
    show: bool = True,
    as_json: bool = False,
) -> Work:
    """Submit, follow to the end, read everything. The deployment ends with this program, so an
    interrupt cancels the run: nothing is left that a later start would go on with unasked."""
    accepted = service.submit(order)
    try:
        if show:
            follow(service, accepted.run_id, console, as_json=as_json)
        else:
            for _ in service.stream(accepted.run_id):
                interrupts.check()
    except (KeyboardInterrupt, BrokenPipeError):
        with interrupts.shielded(), contextlib.suppress(FamiliarError):
            _cancel(service, accepted.run_id)
        raise
    return Work(accepted, gather(service, accepted.run_id))


def _cancel(service: Service, run_id: str) -> None:
    service.cancel(run_id, "interrupted by Ctrl-C or SIGTERM")
    deadline = time.monotonic() + CANCEL_S
    while time.monotonic() < deadline and service.run(run_id).ended_at is None:
        time.sleep(_CANCEL_PAUSE_S)
