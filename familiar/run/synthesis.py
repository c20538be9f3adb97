"""The versions of a run's answer: who wrote each, what it was made from, whether it was adopted.

A partial version stands after each turn that another follows and where a budget ends the run, a
final one where the goal is met. A model's version is adopted when it says something and names only
files that are there; otherwise the listing that is made by rules is, and both are recorded. A name
counts as a file's when its ending is that of a file that the run wanted or made.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from familiar import event as ev
from familiar.run.command import Synthesize
from familiar.run.state import TERMINAL, CallState, CallStatus, RunState

_NOT_A_NAME = re.compile(r"[^\w./-]+")
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that could be the answer. `doubt` says why it is not adopted; `reason` why it is."""

    text: str
    source: ev.Planner
    doubt: str = ""
    reason: str = ""
    prompt_name: str | None = None
    prompt_version: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """An event with the texts that it refers to, by hash."""

    body: ev.SynthesisMade
    texts: dict[str, str]


def candidates(
    state: RunState, command: Synthesize, model_text: str | None
) -> tuple[Candidate, ...]:
    """The model's version, if there is one, and the rules' unless that was adopted."""
    call = None if command.call is None else state.calls[command.call]
    found: list[Candidate] = []
    why = "made by rules; no model was asked"
    if call is not None and model_text is not None:
        doubt = problem(model_text, state, command.kind)
        found.append(
            Candidate(
                model_text,
                "model",
                doubt=doubt,
                reason="it names only files that are there",
                prompt_name=call.prompt_name,
                prompt_version=call.prompt_version,
            )
        )
        if not doubt:
            return tuple(found)
        why = f"made by rules; the model's version was not adopted: {doubt}"
    elif call is not None and call.failures:
        why = f"made by rules; the synthesis call failed: {call.failures[-1]}"
    return (*found, Candidate(listing(state), "rules", reason=why))


def versions(
    found: Iterable[Candidate],
    command: Synthesize,
    inputs: tuple[str, ...],
    *,
    last: int,
    last_text: str | None,
) -> tuple[Version, ...]:
    """The events of `found`, numbered on from version `last`, each with its diff to the one before.

    Diffing is quadratic in the worst case: not for an event loop.
    """
    made: list[Version] = []
    for candidate in found:
        ref = ev.text_ref(candidate.text)
        texts = {ref.sha256: candidate.text}
        diff = None
        if last_text is not None:
            difference = unified_diff(last_text, candidate.text, last, last + 1)
            diff = ev.text_ref(difference)
            texts[diff.sha256] = difference
        body = ev.SynthesisMade(
            version=last + 1,
            turn=command.turn,
            kind=command.kind,
            source=candidate.source,
            text=ref,
            inputs=inputs,
            adopted=not candidate.doubt,
            reason=candidate.doubt or candidate.reason,
            prompt_name=candidate.prompt_name,
            prompt_version=candidate.prompt_version,
            previous=last if diff is not None else None,
            diff=diff,
        )
        made.append(Version(body, texts))
        last, last_text = last + 1, candidate.text
    return tuple(made)


def unified_diff(before: str, after: str, old: int, new: int) -> str:
    """The diff from version `old` to version `new`; empty when nothing changed."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"version {old}", f"version {new}", lineterm=""
    )
    return "\n".join(lines)


def inputs(state: RunState) -> tuple[str, ...]:
    """The worker calls whose results a version is made from."""
    return tuple(
        call.id
        for call in state.calls.values()
        if call.kind == "worker" and call.status is CallStatus.DONE
    )


def problem(text: str, state: RunState, kind: ev.SynthesisKind) -> str:
    """Why a model's version cannot be adopted; empty when it can."""
    if not text.strip():
        return "it is empty"
    there = {*state.files, *state.inherited}
    known = there | set(state.missing) if kind == "partial" else there
    names = {name.lower() for name in known}
    names |= {name.rsplit("/", 1)[-1] for name in names}
    endings = {_ending(name) for name in (*there, *state.wanted)} - {""}
    unknown = [
        name
        for name in dict.fromkeys(word.strip("./-") for word in _NOT_A_NAME.split(text))
        if _ending(name) in endings and name.lower() not in names
    ]
    if not unknown:
        return ""
    return f"it names files that are not there: {', '.join(unknown[:_MAX_NAMED])}"


def listing(state: RunState) -> str:
    """A version without a model: the files, each with its call, and the missing ones."""
    lines = [f"- {path}: made by call {file.call}" for path, file in sorted(state.files.items())]
    said = _calls(state, lambda call: call.planned.output_file is None and _done(call))
    if said:
        lines.append(f"- answers in text: {', '.join(said)}")
    parts = ["What was made:", *lines] if lines else ["Nothing was made."]
    if state.missing:
        parts += ["", "What is missing:", *(f"- {path}" for path in state.missing)]
    lost = _calls(state, lambda call: call.status in TERMINAL and not _done(call))
    if lost:
        parts += ["", f"Calls that were given up: {', '.join(lost)}"]
    return "\n".join(parts)


def _calls(state: RunState, wanted: Callable[[CallState], bool]) -> list[str]:
    return [call.id for call in state.calls.values() if call.kind == "worker" and wanted(call)]


def _done(call: CallState) -> bool:
    return call.status is CallStatus.DONE


def _ending(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return ending.lower() if dot and stem and not stem.endswith("/") else ""
