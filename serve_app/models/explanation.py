"""An explanation and a comparison as the API shows them: `familiar.explain`'s values."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from familiar.explain.cause import Cause
from serve_app.models.base import HttpModel

Figure = bool | int | float | str


class Evidence(HttpModel):
    """One observation, with the seq of the events that hold it."""

    says: str
    events: list[int]
    figures: dict[str, Figure]


class RuledOut(HttpModel):
    """A possible cause that the events rule out."""

    cause: Cause
    how: str
    events: list[int]


class RankedCause(HttpModel):
    """One cause, with its evidence."""

    cause: Cause
    says: str
    likelihood: float = Field(ge=0, le=1, description="how complete the evidence is")
    decisive: bool = Field(description="whether it decided the end of the run")
    lost_s: float = Field(description="seconds lost by it")
    calls: list[str] = Field(description="the affected attempts, as call/attempt")
    evidence: list[Evidence]
    ruled_out: list[RuledOut]
    change: list[str] = Field(description="changes to make: keys of the configuration, the plan")
    contradicts: list[str] = Field(
        description="the recorded failure class, where the evidence contradicts it"
    )


class ExplanationDetail(HttpModel):
    """Why a run went as it did. The first cause is the most likely."""

    run_id: str
    outcome: Literal["succeeded", "failed", "cancelled", "running"]
    symptom: str
    causes: list[RankedCause] = Field(min_length=1)
    events: int = Field(description="number of events read")
    seconds: float


class RunDigest(HttpModel):
    """One run in figures, by section."""

    run_id: str
    sections: dict[str, dict[str, Figure]]


class Difference(HttpModel):
    """One figure that differs; `ratio` is b over a, where both are numbers."""

    section: str
    name: str
    a: Figure | None
    b: Figure | None
    ratio: float | None


class RunDifference(HttpModel):
    """Two runs side by side. `same` names the sections without differences."""

    a: RunDigest
    b: RunDigest
    differences: list[Difference]
    same: list[str]
