"""Who may take what: the shed's rules, as one function for each question.

A refusal is a value with a sentence for the person at the desk, not an exception: being told no is
the normal end of a request. Only a broken store raises.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date

from shed.schema import LOAN_DAYS, MAX_LOANS_PER_MEMBER, Condition, Loan, Member, Tool
from shed.store import Store


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, in words that can be read out loud."""

    reason: str


def may_borrow(
    tool: Tool, member: Member, open_loans: list[Loan], today: date
) -> Refusal | None:
    """None when nothing speaks against it. The first reason found is the one that is told."""
    if member.blocked:
        return Refusal(f"{member.name} is blocked; ask the treasurer.")
    if not tool.can_be_lent:
        return Refusal(f"{tool.name} is waiting for its repair.")
    if any(loan.tool_id == tool.tool_id for loan in open_loans):
        return Refusal(f"{tool.name} is out already.")
    if tool.needs_induction and tool.tool_id not in member.inductions:
        return Refusal(f"{tool.name} needs an induction; the next one is on Saturday at ten.")
    theirs = [loan for loan in open_loans if loan.member_id == member.member_id]
    if len(theirs) >= MAX_LOANS_PER_MEMBER:
        return Refusal(f"{member.name} has {len(theirs)} tools out, which is the limit.")
    late = [loan for loan in theirs if loan.days_late(today)]
    if late:
        return Refusal(f"{member.name} has to bring back {len(late)} late tools first.")
    return None


def borrow(
    store: Store, tool: Tool, member: Member, today: date, days: int = LOAN_DAYS
) -> Loan | Refusal:
    """Lend the tool, or say why not. `days` beyond two loan periods are never granted."""
    refusal = may_borrow(tool, member, store.open_loans(), today)
    if refusal is not None:
        return refusal
    if not 1 <= days <= 2 * LOAN_DAYS:
        return Refusal(f"A loan is between 1 and {2 * LOAN_DAYS} days.")
    with store.transaction():
        return store.add_loan(tool.tool_id, member.member_id, today, days)


def give_back(store: Store, loan: Loan, condition: Condition, today: date) -> int:
    """Take the tool back and return the fee in cents. A worn tool costs nothing; a broken one is
    settled by hand, because nobody breaks a saw on purpose."""
    store.close_loan(loan, today, condition)
    return loan.fee_cents(today)


def overdue(open_loans: list[Loan], today: date) -> list[Loan]:
    """Loans that should be back, the latest first."""
    late = [loan for loan in open_loans if loan.days_late(today) > 0]
    return sorted(late, key=lambda loan: (-loan.days_late(today), loan.loan_id))


def busiest_tools(history: list[Loan], count: int = 5) -> list[tuple[str, int]]:
    """Tool ids with the most loans, for the question which second drill to buy."""
    return Counter(loan.tool_id for loan in history).most_common(count)
