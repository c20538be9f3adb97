"""From findings to causes in order: causes that decided the end first, roots before effects.

For a run that failed, causes that its end hangs on come first, in the order of `cause.Cause`, which
goes from the root outwards. For one that succeeded or is still open, the lost time decides.
A cause that was only a lesser reading of an attempt (another rule had better evidence) comes last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from familiar.explain.cause import ORDER, TEXTS, Cause
from familiar.explain.explanation import Evidence, Finding, RankedCause, RuledOut
from familiar.explain.story import Story

MOST_PROVED = 3
"""Of how many attempts the evidence is shown; the names of the others stand in `calls`."""
MOST_EVIDENCE = 12
MOST_RULED_OUT = 8
MOST_NAMED = 8
_PLACE = re.compile(r"\b(?:POOL|ALIAS|RUN|SESSION|CALL)\b")


@dataclass(slots=True, eq=False, repr=False)
class _Group:
    """All findings of one cause. `chief` are those that are the best reading of their attempt."""

    cause: Cause
    chief: list[Finding] = field(default_factory=list)
    lesser: list[Finding] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        return self.chief or self.lesser

    @property
    def decisive(self) -> bool:
        return any(finding.decisive for finding in self.findings)

    @property
    def lost_s(self) -> float:
        return sum(finding.lost_s for finding in self.chief)


def rank(
    story: Story, chief: Sequence[Finding], lesser: Sequence[Finding]
) -> tuple[RankedCause, ...]:
    """The causes, first the most likely. Never empty."""
    groups = {cause: _Group(cause) for cause in (f.cause for f in (*chief, *lesser))}
    for finding in chief:
        groups[finding.cause].chief.append(finding)
    for finding in lesser:
        groups[finding.cause].lesser.append(finding)
    failed = story.end is not None and story.end.outcome != "succeeded"

    def place(group: _Group) -> tuple[bool, bool, float, int]:
        if failed:
            return (not group.chief, not group.decisive, ORDER[group.cause], 0)
        return (not group.chief, False, -group.lost_s, ORDER[group.cause])

    ranked = tuple(_ranked(group, story) for group in sorted(groups.values(), key=place))
    return ranked or (_nothing(story),)


def _ranked(group: _Group, story: Story) -> RankedCause:
    findings = sorted(group.findings, key=lambda finding: not finding.decisive)
    best = findings[0]
    text = TEXTS[group.cause]
    general = (_filled(text.change, best, story),) if text.change else ()
    names = [_name(finding) for finding in findings if finding.call is not None]
    where = ", ".join(dict.fromkeys(names[:MOST_NAMED]))
    on = f" on {best.replica}" if best.replica else f" in pool {best.pool}" if best.pool else ""
    return RankedCause(
        cause=group.cause,
        says=text.says + (f" Seen in {where}{on}." if where else ""),
        likelihood=max(finding.likelihood for finding in findings),
        decisive=group.decisive and bool(group.chief),
        lost_s=round(group.lost_s, 3),
        calls=tuple(dict.fromkeys(names)),
        evidence=_evidence(findings),
        ruled_out=_ruled_out(findings, group.cause),
        change=best.change or general,
        contradicts=tuple(
            f"{_name(finding)} was recorded as {finding.claimed}; the evidence says "
            f"{finding.cause}."
            for finding in group.chief
            if finding.claimed is not None
        ),
    )


def _nothing(story: Story) -> RankedCause:
    done = sum(1 for attempt in story.attempts.values() if attempt.succeeded)
    state = "so far" if story.end is None else "on the way"
    return RankedCause(
        cause=Cause.NOTHING_WRONG,
        says=f"{TEXTS[Cause.NOTHING_WRONG].says} {done} attempts were good, none failed {state}.",
        likelihood=1.0,
        decisive=False,
        lost_s=0.0,
        calls=(),
        evidence=(),
        ruled_out=(),
        change=(),
    )


def _evidence(findings: Sequence[Finding]) -> tuple[Evidence, ...]:
    kept: dict[tuple[str, tuple[int, ...]], Evidence] = {}
    for finding in findings[:MOST_PROVED]:
        for evidence in finding.evidence:
            kept.setdefault((evidence.says, evidence.events), evidence)
            if len(kept) == MOST_EVIDENCE:
                return tuple(kept.values())
    return tuple(kept.values())


def _ruled_out(findings: Sequence[Finding], cause: Cause) -> tuple[RuledOut, ...]:
    """The evidence against each suspected cause: the first, of the gravest finding."""
    kept: dict[Cause, RuledOut] = {}
    for finding in findings:
        for against in finding.ruled_out:
            if against.cause is not cause:
                kept.setdefault(against.cause, against)
    return tuple(kept.values())[:MOST_RULED_OUT]


def _name(finding: Finding) -> str:
    return finding.call or "" if finding.attempt is None else f"{finding.call}/{finding.attempt}"


def _filled(change: str, finding: Finding, story: Story) -> str:
    """The words in capitals stand for names that the finding knows."""
    session = None if story.submitted is None else story.submitted.session_id
    names = {
        "POOL": finding.pool,
        "ALIAS": finding.alias,
        "RUN": story.run_id,
        "SESSION": session,
        "CALL": finding.call,
    }
    return _PLACE.sub(lambda match: names[match[0]] or match[0], change)
