"""The program at the desk: `python -m shed.desk borrow hammer-2 m-104`.

Each command prints one sentence a line and ends with 0 when it did what was asked, 1 when the rules
said no, and 2 when the request made no sense. The clock is read here and nowhere else.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from shed.lending import Refusal, borrow, give_back, overdue
from shed.schema import LOAN_DAYS, Condition, Member, Tool
from shed.store import Store

DEFAULT_STORE = Path("shed.db")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    store = Store(options.store)
    today = date.today()
    return int(options.run(options, store, today))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="shed", description="Lend tools and take them back.")
    parser.add_argument("--store", type=Path, default=DEFAULT_STORE)
    commands = parser.add_subparsers(required=True)
    take = commands.add_parser("borrow", help="a tool leaves the shed")
    take.add_argument("tool")
    take.add_argument("member")
    take.add_argument("--days", type=int, default=LOAN_DAYS)
    take.set_defaults(run=_borrow)
    back = commands.add_parser("return", help="a tool comes back")
    back.add_argument("tool")
    back.add_argument("--condition", choices=[c.value for c in Condition], default="good")
    back.set_defaults(run=_return)
    late = commands.add_parser("late", help="what should be back by now")
    late.set_defaults(run=_late)
    return parser


def _borrow(options: argparse.Namespace, store: Store, today: date) -> int:
    tool = _tool(store, options.tool)
    member: Member | None = store.member(options.member)
    if tool is None or member is None:
        print("There is no such tool or member.", file=sys.stderr)
        return 2
    outcome = borrow(store, tool, member, today, options.days)
    if isinstance(outcome, Refusal):
        print(outcome.reason)
        return 1
    deposit = f", deposit {tool.deposit_cents / 100:.2f}" if tool.deposit_cents else ""
    print(f"{tool.name} goes to {member.name} until {outcome.due}{deposit}.")
    return 0


def _return(options: argparse.Namespace, store: Store, today: date) -> int:
    loan = next((o for o in store.open_loans() if o.tool_id == options.tool), None)
    if loan is None:
        print(f"{options.tool} is not out.", file=sys.stderr)
        return 2
    fee = give_back(store, loan, Condition(options.condition), today)
    print(f"{options.tool} is back." if not fee else f"{options.tool} is back, fee {fee / 100:.2f}.")
    return 0


def _late(options: argparse.Namespace, store: Store, today: date) -> int:
    names = {tool.tool_id: tool.name for tool in store.tools()}
    for loan in overdue(store.open_loans(), today):
        name = names.get(loan.tool_id, loan.tool_id)
        print(f"{name}: {loan.days_late(today)} days, member {loan.member_id}")
    return 0


def _tool(store: Store, tool_id: str) -> Tool | None:
    return next((tool for tool in store.tools() if tool.tool_id == tool_id), None)


if __name__ == "__main__":
    raise SystemExit(main())
