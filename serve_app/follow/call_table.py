"""The calls of a run as a table, and one call with everything that went in and came out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.text import Text

from actors.store.rows import AttemptSummary, CallSummary
from serve_app.cli.console import grid, print_whole
from serve_app.follow.timeline import TIMES, attempt_name, moments, seconds
from serve_app.models import CallDetail

_ROOM_FOR_TIMES = 105
_STYLES = {"succeeded": "green", "published": "green", "failed": "red", "skipped": "dim red"}


def print_calls(calls: Sequence[CallSummary], console: Console, zero: float) -> None:
    """One line per attempt; times are seconds since `zero`, the submission. Failures follow.

    A narrow terminal has the times in the timeline only: a time that is cut off would be wrong.
    """
    wide = console.width >= _ROOM_FOR_TIMES
    figures = (*(TIMES if wide else ()), "in", "cached", "out", "tok/s")
    table = grid("call", "alias", "status", "on", right=figures)
    for call in calls:
        status = Text(call.status, _STYLES.get(call.status, "cyan"))
        if not call.attempts:
            table.add_row(call.call_id, call.alias or "", status)
        for attempt in call.attempts:
            last = attempt is call.attempts[-1]
            table.add_row(
                attempt_name(call, attempt),
                attempt.alias or call.alias or "",
                status if last else Text(attempt.status, _STYLES.get(attempt.status, "cyan")),
                f"{attempt.replica or ''} {'; '.join(attempt.devices)}",
                *(seconds(moments(attempt, zero)) if wide else ()),
                str(attempt.prompt_tokens or ""),
                str(attempt.cached_tokens or ""),
                str(attempt.output_tokens or ""),
                _rate(attempt),
            )
    print_whole(console, table)
    for call in calls:
        for attempt in call.attempts:
            if said := _failure(attempt):
                name = f"{call.call_id}/{attempt.attempt}"
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
    for attempt in call.attempts:
        facts += [
            (
                f"attempt {attempt.attempt}",
                f"{attempt.status} on {attempt.replica} {'; '.join(attempt.devices)}",
            ),
            ("  queued", _moment(attempt.queued_at)),
            ("  started", _moment(attempt.started_at)),
            ("  1st token", _moment(attempt.first_token_at)),
            ("  ended", _moment(attempt.ended_at)),
            ("  tokens", f"{attempt.prompt_tokens} in, {attempt.output_tokens} out"),
            ("  cached", str(attempt.cached_tokens or "")),
            ("  finish", attempt.finish_reason or ""),
            ("  repairs", ", ".join(attempt.repairs)),
            ("  failure", _failure(attempt)),
            ("  evidence", str(attempt.failure_evidence or "")),
            ("  partial", attempt.partial or ""),
            ("  prompt of", f"{attempt.prompt_name}@{attempt.prompt_version}"),
        ]
    for name, said in facts:
        if said:
            console.print(Text(f"  {name:<14}{said}"), soft_wrap=True)
    for attempt in call.attempts:
        for name, text in (
            ("prompt", _conversation(attempt.prompt)),
            ("grammar", attempt.grammar),
            ("reasoning", attempt.reasoning),
            ("raw", attempt.raw),
            ("content", attempt.content if attempt.content != attempt.raw else None),
        ):
            if text:
                console.print(Text(f"\n--- {name} of attempt {attempt.attempt}", "bold"))
                console.print(Text(text), soft_wrap=True)


def _conversation(prompt: str | None) -> str | None:
    """A recorded list of messages as one reads it; anything else as it is."""
    try:
        messages = json.loads(prompt or "")
        return "\n".join(f"[{message['role']}] {message['content']}" for message in messages)
    except (ValueError, TypeError, KeyError):
        return prompt


def _rate(attempt: AttemptSummary) -> str:
    if attempt.first_token_at is None or attempt.ended_at is None or not attempt.output_tokens:
        return ""
    seconds = attempt.ended_at - attempt.first_token_at
    return f"{attempt.output_tokens / seconds:.1f}" if seconds > 0 else ""


def _failure(attempt: AttemptSummary) -> str:
    if attempt.failure_class is None:
        return ""
    return f"{attempt.failure_class}: {attempt.failure_message or ''}"


def _moment(at: float | None) -> str:
    if at is None:
        return ""
    return datetime.fromtimestamp(at).isoformat(sep=" ", timespec="milliseconds")
