"""What the tool shed lends, to whom, and since when: the values every other module shares.

Nothing here reads a clock or a file. Dates are whole days, money is in cents, and every value can
be compared, hashed and written to the store as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import Enum

LOAN_DAYS = 14
MAX_LOANS_PER_MEMBER = 4
LATE_FEE_CENTS_PER_DAY = 50


class Condition(Enum):
    """How a tool came back. A broken tool is not lent again before it was repaired."""

    GOOD = "good"
    WORN = "worn"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Tool:
    """One thing on one hook. Two drills of the same make are two tools."""

    tool_id: str
    name: str
    shelf: str
    deposit_cents: int = 0
    condition: Condition = Condition.GOOD
    needs_induction: bool = False

    @property
    def can_be_lent(self) -> bool:
        return self.condition is not Condition.BROKEN


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who may borrow. `inductions` are the ids of tools they were shown."""

    member_id: str
    name: str
    joined: date
    inductions: frozenset[str] = field(default_factory=frozenset)
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Loan:
    """A tool that left the shed. `returned` is None while it is out."""

    loan_id: int
    tool_id: str
    member_id: str
    since: date
    days: int = LOAN_DAYS
    returned: date | None = None
    came_back: Condition | None = None

    @property
    def due(self) -> date:
        return self.since + timedelta(days=self.days)

    def days_late(self, today: date) -> int:
        """Whole days beyond the due day, by the day of return or by `today`; never negative."""
        end = self.returned or today
        return max((end - self.due).days, 0)

    def fee_cents(self, today: date) -> int:
        return self.days_late(today) * LATE_FEE_CENTS_PER_DAY
