"""The report of a run, for the end of following it and for `familiar show`.

`gather` reads everything once; `print_report` draws it and `Report.as_json` gives it to machines.
The outcome comes first, and for a failed run its first cause and the remedy.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.store.rows import AttemptSummary, CallSummary
from familiar.errors import FailureClass
from familiar.failure import FAILURES
from familiar.goal_files import NamedPath
from serve_app.cli.console import grid
from serve_app.client.service import History
from serve_app.follow.timeline import print_timeline
from serve_app.models import ArtifactList, CallList, Plan, RunDetail

_STYLES = {"succeeded": "bold green", "failed": "bold red", "cancelled": "bold yellow"}
_ANSWER_CHARS = 2_000


def program() -> str:
    """`familiar`, or its path when it stands in a virtual environment that is not active."""
    if shutil.which("familiar"):
        return "familiar"
    beside = Path(sys.executable).with_name("familiar")
    if not beside.exists():
        return f"{sys.executable} -m serve_app.cli"
    here = Path.cwd()
    return str(beside.relative_to(here)) if beside.is_relative_to(here) else str(beside)


@dataclass(frozen=True, slots=True)
class Hints:
    """`options` begins with a space when there are any; `where` is the source of the answer."""

    where: str
    options: str = ""

    def command(self, words: str) -> str:
        return f"{program()} {words}{self.options}"


@dataclass(frozen=True, slots=True)
class Share:
    """What one alias had of one replica. `busy_s` is the time from start to end, summed."""

    alias: str
    replica: str
    attempts: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    busy_s: float = 0.0

    def plus(self, attempt: AttemptSummary) -> Share:
        busy_s = 0.0
        if attempt.started_at is not None and attempt.ended_at is not None:
            busy_s = attempt.ended_at - attempt.started_at
        return Share(
            self.alias,
            self.replica,
            self.attempts + 1,
            self.failed + (attempt.failure_class is not None),
            self.prompt_tokens + attempt.prompt_tokens,
            self.output_tokens + attempt.output_tokens,
            self.cached_tokens + attempt.cached_tokens,
            self.busy_s + busy_s,
        )


@dataclass(frozen=True, slots=True)
class Report:
    run: RunDetail
    plan: Plan
    calls: CallList
    artifacts: ArtifactList

    @property
    def missing(self) -> list[str]:
        made = {artifact.path for artifact in self.artifacts.artifacts}
        return [path for path in self.run.files_wanted if path not in made]

    @property
    def broken(self) -> list[CallSummary]:
        """Calls that ended badly themselves, in the order of the plan."""
        return [call for call in self.calls.calls if call.status == "failed"]

    @property
    def failure_class(self) -> str | None:
        """The class to act on: that of the first broken call, else the run's own."""
        own = self.run.failure_class
        follows = own is None or any(own == name and row.follows for name, row in FAILURES.items())
        return self.broken[0].failure_class if follows and self.broken else own

    @property
    def remedy(self) -> str:
        if self.run.status != "failed":
            return ""
        return remedy_of(self.failure_class, run=self.run.run_id, session=self.run.session_id)

    def shares(self) -> list[Share]:
        shares: dict[tuple[str, str], Share] = {}
        for call in self.calls.calls:
            for attempt in call.attempts:
                key = (attempt.alias or "", attempt.replica or "")
                shares[key] = shares.get(key, Share(*key)).plus(attempt)
        return [shares[key] for key in sorted(shares)]

    def planners(self) -> list[str]:
        said = []
        for turn in self.plan.turns:
            if turn.planner is None:
                said.append(f"turn {turn.turn}: not planned yet")
                continue
            rejected = [
                decision
                for decision in self.plan.decisions
                if decision.turn == turn.turn and decision.kind == "plan.rejected"
            ]
            who = "the model" if turn.planner == "model" else "the rules planner"
            why = f" ({turn.reason})" if turn.reason else ""
            rejections = f"; {len(rejected)} plan(s) of the model rejected" if rejected else ""
            said.append(
                f"turn {turn.turn}: {who}, {len(turn.worker_calls)} worker call(s){why}{rejections}"
            )
        return said

    def as_json(self) -> dict[str, JsonValue]:
        return {
            "run": to_jsonable_python(self.run),
            "remedy": self.remedy or None,
            "missing": list(self.missing),
            "planners": list(self.planners()),
            "artifacts": self.artifacts.model_dump(mode="json")["artifacts"],
            "calls": self.calls.model_dump(mode="json")["calls"],
            "plan": self.plan.model_dump(mode="json")["turns"],
        }


def remedy_of(failure_class: str | None, *, run: str, session: str) -> str:
    """The sentence for this run, or nothing for a class that is not known."""
    try:
        found = FAILURES[FailureClass(failure_class or "")].advice
    except ValueError:
        return ""
    return found.replace(" RUN ", f" {run} ").replace("SESSION", session)


def gather(history: History, run_id: str) -> Report:
    return Report(
        run=history.run(run_id),
        plan=history.plan(run_id),
        calls=history.calls(run_id),
        artifacts=history.artifacts(run_id),
    )


def print_report(report: Report, console: Console, hints: Hints) -> None:
    """Everything, and at the end how to see more of it."""
    print_outcome(report, console)
    _print_answer(report, console)
    _print_files(report, console)
    if planners := report.planners():
        console.print()
        console.print(Text("planner of each turn", "bold"))
        for line in planners:
            console.print(Text(f"  {line}"))
    print_timeline(report.calls.calls, console, report.run.submitted_at)
    _print_shares(report, console)
    _print_next(report, console, hints)


def print_outcome(report: Report, console: Console) -> None:
    run = report.run
    line = Text()
    line.append(run.status, _STYLES.get(run.status, "bold cyan"))
    if run.ended_at is not None:
        line.append(f" after {run.ended_at - run.submitted_at:.1f} s")
    if run.reason:
        line.append(f": {run.reason}")
    console.print(line)
    for call in report.broken:
        last = call.attempts[-1] if call.attempts else None
        why = (last.failure_message if last else None) or ""
        failed = f"  {call.call_id} failed, {call.failure_class}: {why}"
        console.print(Text(failed, "red"), soft_wrap=True)
    if report.remedy:
        console.print(Text(f"  What to do: {report.remedy}", "yellow"), soft_wrap=True)


def _print_answer(report: Report, console: Console) -> None:
    adopted = [made for made in report.run.syntheses if made.adopted and made.text]
    if adopted:
        text = (adopted[-1].text or "").strip()
        cut = text if len(text) <= _ANSWER_CHARS else text[: _ANSWER_CHARS - 1] + "…"
        console.print()
        console.print(Text(f"answer (by {adopted[-1].source})", "bold"))
        console.print(Text(cut))
    if len(report.run.syntheses) > 1:
        console.print()
        console.print(Text("versions of the answer", "bold"))
        for made in report.run.syntheses:
            fate = "adopted" if made.adopted else "not adopted"
            line = f"  {made.version}: {made.kind}, turn {made.turn}, by {made.source}, {fate}: "
            console.print(Text(line + made.reason))


def taken_otherwise(taken: Iterable[NamedPath]) -> list[str]:
    """A sentence for each file name of a goal that was not taken as it is written."""
    said = []
    for name in taken:
        if name.problem is not None:
            said.append(f"{name.written!r} in the goal was not taken for a file: {name.problem}.")
        elif name.path != name.written:
            said.append(f"{name.written!r} in the goal was taken for the file {name.path}.")
    return said


def _print_files(report: Report, console: Console) -> None:
    otherwise = taken_otherwise(report.run.taken)
    if not report.artifacts.artifacts and not report.missing and not otherwise:
        return
    console.print()
    console.print(Text("files", "bold"))
    table = Table(box=None, padding=(0, 2), show_header=False)
    for artifact in report.artifacts.artifacts:
        table.add_row(artifact.path, f"{artifact.size} B", artifact.call_id, artifact.commit[:12])
    for path in report.missing:
        table.add_row(Text(path, "red"), Text("missing", "red"))
    console.print(table)
    for line in otherwise:
        console.print(Text(f"  {line}", "yellow"), soft_wrap=True)


def _print_shares(report: Report, console: Console) -> None:
    shares = report.shares()
    if not shares:
        return
    figures = ("calls", "failed", "prompt", "cached", "output", "busy", "tok/s")
    table = grid("alias", "replica", right=figures)
    for share in shares:
        table.add_row(
            share.alias,
            share.replica,
            str(share.attempts),
            str(share.failed or ""),
            str(share.prompt_tokens),
            str(share.cached_tokens),
            str(share.output_tokens),
            f"{share.busy_s:.1f}s",
            f"{share.output_tokens / share.busy_s:.1f}" if share.busy_s else "",
        )
    console.print()
    console.print(Text("tokens", "bold"))
    console.print(table)


def _print_next(report: Report, console: Console, hints: Hints) -> None:
    run = report.run
    workspace = Path(run.workspace)
    lines = [
        ("workspace", str(workspace)),
        ("git history", f"git -C {workspace} log --stat"),
        ("log", hints.command(f"log {run.run_id}")),
        ("calls", hints.command(f"calls {run.run_id}")),
        ("explain", hints.command(f"explain {run.run_id}")),
        ("show again", hints.command(f"show {run.run_id}")),
        ("continue", hints.command(f"run --session {run.session_id} 'GOAL'")),
        ("read from", hints.where),
    ]
    if (log_file := workspace.parent / "orchestra.log").is_file():
        lines.insert(2, ("log file", str(log_file)))
    console.print()
    console.print(Text("related commands and files", "bold"))
    for name, what in lines:
        console.print(Text(f"  {name:<12} {what}"), soft_wrap=True)
