"""What of the configuration bounds a run's decisions."""

from __future__ import annotations

from dataclasses import dataclass

from familiar.config.schema import Config


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The budgets and the planning rules that the machine keeps to."""

    orchestrator_alias: str
    plan_tries: int
    rules_planner: bool
    synthesis: bool
    turns: int
    model_calls: int
    output_tokens: int
    attempts: int
    wall_s: float

    @classmethod
    def of(cls, config: Config) -> RunLimits:
        planning, budgets = config.orchestrator, config.budgets
        return cls(
            orchestrator_alias=planning.alias,
            plan_tries=planning.plan_tries,
            rules_planner=planning.rules_planner,
            synthesis=planning.synthesis,
            turns=budgets.turns,
            model_calls=budgets.model_calls,
            output_tokens=budgets.output_tokens,
            attempts=budgets.attempts,
            wall_s=budgets.wall_s,
        )
