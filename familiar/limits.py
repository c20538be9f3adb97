"""The part of the configuration that bounds a run's decisions, as a value in the run's first event.

A run is folded with the limits that it was submitted with. A changed configuration therefore never
changes the meaning of a recorded history.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from familiar.config.schema import Config

_VALUE = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Price(BaseModel):
    """The price of a million tokens, in any currency."""

    model_config = _VALUE

    input_per_million: float
    output_per_million: float


class RunLimits(BaseModel):
    """The budgets (every one of `BudgetConfig`) and the planning rules of one run. `prices` is by
    pool, `soft` a share of each limit; `money` None means no limit. `longest_waits` is the queue
    deadline of each alias: no attempt waits longer for a server that asks for time."""

    model_config = _VALUE

    version: Literal[1] = 1
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
    prices: Mapping[str, Price] = Field(default_factory=dict)
    longest_waits: Mapping[str, float] = Field(default_factory=dict)

    @classmethod
    def of(cls, config: Config) -> RunLimits:
        planning = config.orchestrator
        priced = {name: pool.price for name, pool in config.pools.items() if pool.price}
        return cls(
            orchestrator_alias=planning.alias,
            plan_tries=planning.plan_tries,
            rules_planner=planning.rules_planner,
            synthesis=planning.synthesis,
            partial_synthesis=planning.partial_synthesis,
            longest_waits={n: alias.queue_deadline_s for n, alias in config.aliases.items()},
            prices={
                name: Price(
                    input_per_million=price.input_per_million,
                    output_per_million=price.output_per_million,
                )
                for name, price in priced.items()
            },
            **config.budgets.model_dump(),
        )
