"""The parts of an explanation: values without behaviour, the same for text, JSON and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from familiar.errors import FailureClass
from familiar.explain.cause import Cause

Outcome = Literal["succeeded", "failed", "cancelled", "running"]
Figure = float | int | str | bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation: a sentence, the events that hold it, and its figures by name. Times are
    seconds, rates tokens/s."""

    says: str
    events: tuple[int, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuledOut:
    """A cause that looked possible, and the evidence against it in the events."""

    cause: Cause
    how: str
    events: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause as one rule found it for one attempt, plan, or end.

    `likelihood` (0 to 1) says how complete the evidence is: 0.9 every figure that the rule wants is
    there and agrees, 0.6 some are missing, 0.3 nothing speaks against it. `decisive` is whether
    the run's end hangs on it. `lost_s` is the time that went by because of it. `claimed` is set
    when the recorded failure class says something else than the evidence.
    """

    cause: Cause
    likelihood: float
    evidence: tuple[Evidence, ...] = ()
    ruled_out: tuple[RuledOut, ...] = ()
    change: tuple[str, ...] = ()
    call: str | None = None
    attempt: int | None = None
    alias: str | None = None
    pool: str | None = None
    replica: str | None = None
    lost_s: float = 0.0
    decisive: bool = False
    claimed: FailureClass | None = None


@dataclass(frozen=True, slots=True)
class RankedCause:
    """A cause with all that was found for it over the run. `says` names it in one sentence; `calls`
    are the attempts that it hit, as `call/attempt`."""

    cause: Cause
    says: str
    likelihood: float
    decisive: bool
    lost_s: float
    calls: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    ruled_out: tuple[RuledOut, ...]
    change: tuple[str, ...]
    contradicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a run went as it did. `causes` is never empty; the first is the most likely.

    `symptom` is the end of the run as it was recorded. `events` is the number of events that
    were read, so that an explanation of an open run says up to where it knows.
    """

    run_id: str
    outcome: Outcome
    symptom: str
    causes: tuple[RankedCause, ...]
    events: int
    seconds: float

    @property
    def cause(self) -> Cause:
        return self.causes[0].cause
