"""What of the configuration bounds a run's decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from familiar.config.schema import Config, PriceConfig


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The budgets and the planning rules that the machine keeps to. `prices` is by pool, `soft` a
    share of each limit, `money` None for no limit."""

    orchestrator_alias: str
    plan_tries: int
    rules_planner: bool
    synthesis: bool
    turns: int
    model_calls: int
    output_tokens: int
    attempts: int
    wall_s: float
    tokens: int
    recoveries: int
    soft: float = 0.8
    money: float | None = None
    partial_synthesis: Literal["rules", "model", "none"] = "rules"
    prices: Mapping[str, PriceConfig] = field(default_factory=dict)

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
            tokens=budgets.tokens,
            recoveries=budgets.recoveries,
            soft=budgets.soft,
            money=budgets.money,
            partial_synthesis=planning.partial_synthesis,
            prices={name: pool.price for name, pool in config.pools.items() if pool.price},
        )
