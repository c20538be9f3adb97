"""The use of a run's budgets, and the consequence when little or nothing of one is left.

At `budgets.soft` of a limit the run goes on and the next plan is told. At the limit nothing more is
begun. Turns, model calls and recoveries are counts of beginnings: running calls finish. Tokens,
money and wall time are spent by running calls: they are stopped. Either way files that are written
are still published, a synthesis names them, and the run ends.

A turn is used when it is over. A model call is used when it is queued. Tokens are counted when an
attempt ends, so the limit can be passed by what was running then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from familiar.call import Usage
from familiar.event import Budget, BudgetReached
from familiar.limits import RunLimits
from familiar.run.state import RunState

LETS_FINISH: frozenset[Budget] = frozenset({"turns", "model_calls", "recoveries"})
"""The budgets at whose end running calls are let finish."""

UNITS: dict[Budget, str] = {
    "turns": "turns",
    "model_calls": "model calls",
    "tokens": "tokens",
    "output_tokens": "output tokens",
    "wall_s": "seconds",
    "recoveries": "recoveries",
    "money": "",
}


class Use(NamedTuple):
    budget: Budget
    used: float
    limit: float

    @property
    def over(self) -> bool:
        return self.used >= self.limit

    def soft_over(self, share: float) -> bool:
        return self.used > 0 and self.used >= self.limit * share

    def reached(self, *, soft: bool) -> BudgetReached:
        return BudgetReached(budget=self.budget, limit=self.limit, used=self.used, soft=soft)


def uses(state: RunState, limits: RunLimits) -> Iterator[Use]:
    """Every budget but the wall time, which needs a clock."""
    yield Use("turns", state.turns_over, limits.turns)
    yield Use("model_calls", state.model_calls, limits.model_calls)
    yield Use("tokens", state.prompt_tokens + state.output_tokens, limits.tokens)
    yield Use("output_tokens", state.output_tokens, limits.output_tokens)
    yield Use("recoveries", state.recoveries, limits.recoveries)
    if limits.money is not None:
        yield Use("money", state.money, limits.money)


def cost(usage: Usage, pool: str, limits: RunLimits) -> float:
    """The cost of an attempt, in the currency of its pool's price; 0 where there is none."""
    price = limits.prices.get(pool)
    if price is None:
        return 0.0
    paid = usage.prompt_tokens * price.input_per_million
    return (paid + usage.output_tokens * price.output_per_million) / 1e6


def used_up(reached: BudgetReached) -> str:
    return (
        f"the budget budgets.{reached.budget} is used up "
        f"({_amount(reached.used)} of {_amount(reached.limit)})"
    )


def notice(reached: BudgetReached) -> str:
    """The sentence for the orchestrator at a soft limit."""
    unit = UNITS[reached.budget] or "money"
    return (
        f"Budget: {_amount(reached.used)} of {_amount(reached.limit)} {unit} are used. "
        "At the limit the run ends with what there is, so plan only what is still missing."
    )


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.4g}"
