"""The rules of lending, as the desk would tell them."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from shed.lending import Refusal, borrow, busiest_tools, give_back, may_borrow, overdue
from shed.schema import LATE_FEE_CENTS_PER_DAY, Condition, Loan, Member, Tool
from shed.store import Store

TODAY = date(2024, 5, 4)
DRILL = Tool("drill-1", "Cordless drill", "B2", deposit_cents=2_000)
SAW = Tool("saw-1", "Table saw", "floor", needs_induction=True)
ANNA = Member("m-1", "Anna", date(2023, 1, 1))


@pytest.fixture
def store() -> Store:
    made = Store(":memory:")
    for tool in (DRILL, SAW):
        made.put_tool(tool)
    made.put_member(ANNA)
    return made


def test_a_free_tool_goes_to_a_member(store: Store) -> None:
    loan = borrow(store, DRILL, ANNA, TODAY)
    assert isinstance(loan, Loan)
    assert loan.due == TODAY + timedelta(days=14)
    assert store.open_loans() == [loan]


def test_a_tool_is_out_only_once(store: Store) -> None:
    borrow(store, DRILL, ANNA, TODAY)
    refusal = borrow(store, DRILL, Member("m-2", "Ben", TODAY), TODAY)
    assert refusal == Refusal("Cordless drill is out already.")


def test_an_induction_is_asked_for_and_remembered(store: Store) -> None:
    assert isinstance(may_borrow(SAW, ANNA, [], TODAY), Refusal)
    shown = Member("m-1", "Anna", ANNA.joined, frozenset({"saw-1"}))
    assert may_borrow(SAW, shown, [], TODAY) is None


def test_a_broken_tool_waits_for_its_repair(store: Store) -> None:
    loan = borrow(store, DRILL, ANNA, TODAY)
    assert isinstance(loan, Loan)
    give_back(store, loan, Condition.BROKEN, TODAY)
    drill = next(tool for tool in store.tools() if tool.tool_id == "drill-1")
    assert isinstance(borrow(store, drill, ANNA, TODAY), Refusal)


@pytest.mark.parametrize(("days", "fee"), [(0, 0), (14, 0), (15, 1), (20, 6)])
def test_the_fee_counts_whole_days_beyond_the_due_day(days: int, fee: int) -> None:
    loan = Loan(1, "drill-1", "m-1", TODAY)
    assert loan.fee_cents(TODAY + timedelta(days=days)) == fee * LATE_FEE_CENTS_PER_DAY


def test_late_tools_come_first_before_new_ones(store: Store) -> None:
    old = Loan(1, "rake-1", "m-1", TODAY - timedelta(days=30))
    refusal = may_borrow(DRILL, ANNA, [old], TODAY)
    assert refusal is not None
    assert "1 late" in refusal.reason


def test_the_latest_is_called_first() -> None:
    loans = [Loan(n, f"t-{n}", "m-1", TODAY - timedelta(days=14 + n)) for n in (1, 9, 4)]
    assert [loan.loan_id for loan in overdue(loans, TODAY)] == [9, 4, 1]


def test_the_busiest_tool_is_the_one_that_was_lent_most() -> None:
    history = [Loan(n, "drill-1" if n % 3 else "saw-1", "m-1", TODAY) for n in range(9)]
    assert busiest_tools(history, 1) == [("drill-1", 6)]
