"""A run in figures, and the differences between two runs.

A digest has sections of named figures, in the order in which a person asks: how it ended, what was
asked (prompts), what was planned, where it ran, what it used, how long it took, what came of it.
Names hold nothing that differs from run to run by itself (ids, times of day), so that equal runs
have equal digests. Figures that are equal are left out of a difference; a ratio is given where both
are numbers, because "3 times the tokens" is what a person wants to read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from familiar.event import Event, PlanAccepted, PlanRejected
from familiar.explain.explain import explain_story
from familiar.explain.explanation import Figure
from familiar.explain.story import Story, read_story
from familiar.plan.dag import dag

Section = dict[str, Figure]
SECTIONS = ("outcome", "prompts", "plan", "routes", "tokens", "times", "files", "syntheses")


@dataclass(frozen=True, slots=True)
class RunDigest:
    """`sections` by name, each figure by its name; seconds, tokens, counts, hashes."""

    run_id: str
    sections: Mapping[str, Mapping[str, Figure]]


def digest(events: Iterable[Event]) -> RunDigest:
    story = read_story(events)
    files: Section = {path: story.published[path] for path in sorted(story.published)}
    made: dict[str, Section] = {
        "outcome": _outcome(story),
        "prompts": _prompts(story),
        "plan": _plan(story),
        "routes": _routes(story),
        "tokens": _tokens(story),
        "times": _times(story),
        "files": files,
        "syntheses": _syntheses(story),
    }
    return RunDigest(story.run_id, made)


def _outcome(story: Story) -> Section:
    explained = explain_story(story)
    end = story.end
    found: Section = {"outcome": explained.outcome, "cause": explained.cause.value}
    if end is not None:
        found["reason"] = end.reason
        if end.failure_class is not None:
            found["failure class"] = end.failure_class.value
    if story.submitted is not None:
        found["goal"] = story.submitted.goal.sha256[:12]
        found["configuration"] = story.submitted.config_hash[:12]
    return found


def _prompts(story: Story) -> Section:
    """Name and version (a hash of the prompt's content) by kind and alias."""
    seen: dict[str, dict[str, None]] = {}
    for attempt in story.attempts.values():
        sent = attempt.dispatched
        if sent is not None:
            used = seen.setdefault(f"{sent.kind} by {sent.alias}", {})
            used[f"{sent.prompt_name}@{sent.prompt_version}"] = None
    return {name: ", ".join(used) for name, used in sorted(seen.items())}


def _plan(story: Story) -> Section:
    accepted = [note.body for note in story.plans if isinstance(note.body, PlanAccepted)]
    calls = [call for body in accepted for call in body.calls]
    depths = dag(calls).depths()
    aliases = Counter(call.alias for call in calls)
    return {
        "turns": len(story.turns),
        "planners": ", ".join(body.planner for body in accepted) or "none",
        "plans rejected": sum(isinstance(note.body, PlanRejected) for note in story.plans),
        "calls": len(calls),
        "edges": sum(len(call.depends_on) for call in calls),
        "depth": max(depths.values(), default=-1) + 1,
        "width": max(Counter(depths.values()).values(), default=0),
        **{f"calls of {alias}": count for alias, count in sorted(aliases.items())},
    }


def _routes(story: Story) -> Section:
    attempts = Counter(attempt.replica for attempt in story.attempts.values() if attempt.replica)
    failed = Counter(attempt.replica for attempt in story.failed_attempts if attempt.replica)
    return {
        replica: f"{count} attempts" + (f", {failed[replica]} failed" if failed[replica] else "")
        for replica, count in sorted(attempts.items())
    }


def _tokens(story: Story) -> Section:
    spent = story.spent
    return {
        "prompt": spent.prompt,
        "cached": spent.cached,
        "output": spent.output,
        "output in failed attempts": spent.wasted,
        **{f"output of {alias}": count for alias, count in sorted(spent.by_alias.items())},
    }


def _times(story: Story) -> Section:
    busy: dict[str, float] = {}
    waited = 0.0
    took: dict[str, float] = {}
    for attempt in story.attempts.values():
        span = attempt.seconds
        busy[attempt.alias or "?"] = busy.get(attempt.alias or "?", 0.0) + span
        waited += attempt.queue_s or 0.0
        took[attempt.call] = took.get(attempt.call, 0.0) + span + (attempt.queue_s or 0.0)
    path = dag(tuple(story.planned.values())).heaviest(took)
    by_turn: dict[int, float] = {}
    for name, length in path.items():
        turn = story.planned_turn[name]
        by_turn[turn] = max(by_turn.get(turn, 0.0), length)
    harness = sum(span for name, span in took.items() if name not in story.planned)
    found: Section = {
        "makespan": round(story.seconds, 2),
        "critical path": round(sum(by_turn.values()) + harness, 2),
        "waiting for slots": round(waited, 2),
    }
    return found | {f"busy {alias}": round(span, 2) for alias, span in sorted(busy.items())}


def _syntheses(story: Story) -> Section:
    return {
        f"{made.kind} {made.version}": f"by {made.source}, {made.text.size} B, "
        f"{made.text.sha256[:12]}, {'adopted' if made.adopted else 'not adopted'}: {made.reason}"
        for made in story.syntheses
    }


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that differs; None where a run has no such figure. `ratio` is b over a."""

    section: str
    name: str
    a: Figure | None
    b: Figure | None
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class RunDiff:
    """Two runs and their differences, in the order of `SECTIONS`. `same` names the sections without
    one."""

    a: RunDigest
    b: RunDigest
    differences: tuple[Difference, ...]
    same: tuple[str, ...]


def diff(a: Iterable[Event], b: Iterable[Event]) -> RunDiff:
    """Compare two histories."""
    first, second = digest(a), digest(b)
    found: list[Difference] = []
    for section in SECTIONS:
        ours, theirs = first.sections[section], second.sections[section]
        found += [
            _difference(section, name, ours.get(name), theirs.get(name))
            for name in dict.fromkeys((*ours, *theirs))
            if ours.get(name) != theirs.get(name)
        ]
    differing = {difference.section for difference in found}
    same = tuple(section for section in SECTIONS if section not in differing)
    return RunDiff(first, second, tuple(found), same)


def _difference(section: str, name: str, a: Figure | None, b: Figure | None) -> Difference:
    ratio = None
    if _is_number(a) and _is_number(b) and a:
        ratio = round(b / a, 3)
    return Difference(section, name, a, b, ratio)


def _is_number(value: Figure | None) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
