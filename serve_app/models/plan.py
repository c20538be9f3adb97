"""The plans, turn by turn, and every decision with its reasons."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from serve_app.models.base import HttpModel
from serve_app.models.call import CallStatus


class PlanNode(HttpModel):
    """One worker call of the plan's DAG."""

    id: str
    alias: str | None
    prompt: str | None
    depends_on: list[str]
    output_file: str | None
    needs: list[str]
    status: CallStatus


class Repair(HttpModel):
    """A repair that was made to the plan before it was accepted."""

    code: str
    message: str
    call: str | None = None


class Decision(HttpModel):
    """A recorded choice. `seq` is the event that holds it."""

    seq: int
    at: float
    kind: str = Field(examples=["plan.accepted", "route", "recovery.chosen"])
    turn: int | None
    call_id: str | None
    attempt: int | None
    choice: str
    reasons: list[str]
    detail: dict[str, JsonValue]


class TurnPlan(HttpModel):
    """One turn: its planner (`rules` when the model had no valid plan) and its calls in order."""

    turn: int
    started_at: float | None
    planned_at: float | None
    planner: Literal["model", "rules"] | None
    continues: bool | None = Field(description="whether the plan asks for another turn")
    reason: str | None
    repairs: list[Repair]
    worker_calls: list[PlanNode]


class Plan(HttpModel):
    run_id: str
    turns: list[TurnPlan]
    decisions: list[Decision]
