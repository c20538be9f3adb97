"""The calls of a run as a table, and one call with everything that went in and came out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serve_app.models.call import CallDetail, CallSummary, TrySummary

_ROOM_FOR_TIMES = 105
_STYLES = {"succeeded": "green", "published": "green", "failed": "red", "skipped": "dim red"}


def print_calls(calls: Sequence[CallSummary], console: Console, zero: float) -> None:
    """One line per attempt; times are seconds since `zero`, the submission. Failures follow.

    A narrow terminal has the times in the timeline only: a time that is cut off would be wrong.
    """
    wide = console.width >= _ROOM_FOR_TIMES
    times = ("queued", "started", "1st token", "ended") if wide else ()
    table = Table(box=None, padding=(0, 1), header_style="dim", show_edge=False)
    for name in ("call", "alias", "status", "on"):
        table.add_column(name, no_wrap=True)
    for name in (*times, "in", "cached", "out", "tok/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for call in calls:
        status = Text(call.status, _STYLES.get(call.status, "cyan"))
        if not call.tries:
            table.add_row(call.call_id, call.alias or "", status)
        for tried in call.tries:
            last = tried is call.tries[-1]
            table.add_row(
                call.call_id if tried.attempt == 1 else f"{call.call_id}/{tried.attempt}",
                tried.alias or call.alias or "",
                status if last else Text(tried.status, _STYLES.get(tried.status, "cyan")),
                f"{tried.replica or ''} {'; '.join(tried.devices)}",
                *(_since(at, zero) for at in (_moments(tried) if wide else ())),
                str(tried.prompt_tokens or ""),
                str(tried.cached_tokens or ""),
                str(tried.output_tokens or ""),
                _rate(tried),
            )
    console.print(table)
    for call in calls:
        for tried in call.tries:
            if said := _failure(tried):
                name = f"{call.call_id}/{tried.attempt}"
                console.print(Text(f"{name} failed, {said}", "red"), soft_wrap=True)
        if call.skipped_because:
            why = ", ".join(call.skipped_because)
            console.print(Text(f"{call.call_id} was skipped, because {why} failed", "red"))


def print_call(call: CallDetail, console: Console) -> None:
    """All texts of a call, whole."""
    console.print(Text.assemble((call.call_id, "bold"), f" ({call.kind}), {call.status}"))
    facts = [
        ("turn", str(call.turn or "")),
        ("alias", call.alias or ""),
        ("file", call.output_file or ""),
        ("after", ", ".join(call.depends_on)),
        ("task", call.task or ""),
        ("skipped", ", ".join(call.skipped_because)),
    ]
    for tried in call.tries:
        facts += [
            (
                f"attempt {tried.attempt}",
                f"{tried.status} on {tried.replica} {'; '.join(tried.devices)}",
            ),
            ("  queued", _moment(tried.queued_at)),
            ("  started", _moment(tried.started_at)),
            ("  1st token", _moment(tried.first_token_at)),
            ("  ended", _moment(tried.ended_at)),
            ("  tokens", f"{tried.prompt_tokens} in, {tried.output_tokens} out"),
            ("  cached", str(tried.cached_tokens or "")),
            ("  finish", tried.finish_reason or ""),
            ("  repairs", ", ".join(tried.repairs)),
            ("  failure", _failure(tried)),
            ("  evidence", str(tried.failure_evidence or "")),
            ("  partial", tried.partial or ""),
            ("  prompt of", f"{tried.prompt_name}@{tried.prompt_version}"),
        ]
    for name, said in facts:
        if said:
            console.print(Text(f"  {name:<14}{said}"), soft_wrap=True)
    for tried in call.tries:
        for name, text in (
            ("prompt", _conversation(tried.prompt)),
            ("grammar", tried.grammar),
            ("raw", tried.raw),
            ("content", tried.content if tried.content != tried.raw else None),
        ):
            if text:
                console.print(Text(f"\n--- {name} of attempt {tried.attempt}", "bold"))
                console.print(Text(text), soft_wrap=True)


def _conversation(prompt: str | None) -> str | None:
    """A recorded list of messages as one reads it; anything else as it is."""
    try:
        messages = json.loads(prompt or "")
        return "\n".join(f"[{message['role']}] {message['content']}" for message in messages)
    except (ValueError, TypeError, KeyError):
        return prompt


def _moments(tried: TrySummary) -> tuple[float | None, ...]:
    return (tried.queued_at, tried.started_at, tried.first_token_at, tried.ended_at)


def _since(at: float | None, zero: float) -> str:
    return "" if at is None else f"{max(at - zero, 0.0):.2f}"


def _rate(tried: TrySummary) -> str:
    if tried.first_token_at is None or tried.ended_at is None or not tried.output_tokens:
        return ""
    seconds = tried.ended_at - tried.first_token_at
    return f"{tried.output_tokens / seconds:.1f}" if seconds > 0 else ""


def _failure(tried: TrySummary) -> str:
    if tried.failure_class is None:
        return ""
    return f"{tried.failure_class}: {tried.failure_message or ''}"


def _moment(at: float | None) -> str:
    if at is None:
        return ""
    return datetime.fromtimestamp(at).isoformat(sep=" ", timespec="milliseconds")
