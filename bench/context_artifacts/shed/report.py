"""The monthly report for the members' meeting, as plain text that fits on one sheet.

Everything is computed from the values that the store gives; the text is the only product. Numbers
are rounded where they are printed and nowhere before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date

from shed.schema import Condition, Loan, Tool

WIDTH = 64


@dataclass(frozen=True, slots=True)
class Month:
    """The loans that began in one month, and the tools as they stand at its end."""

    first: date
    loans: tuple[Loan, ...]
    tools: tuple[Tool, ...]

    @property
    def title(self) -> str:
        return self.first.strftime("%B %Y")


def report(month: Month, today: date) -> str:
    """The whole sheet: a heading, four sections, and a line to sign on."""
    sections = [
        ("Loans", _loans(month, today)),
        ("Most wanted", _most_wanted(month)),
        ("Repairs", _repairs(month)),
        ("Shelves", _shelves(month)),
    ]
    lines = [f"Tool shed, {month.title}".center(WIDTH).rstrip(), "=" * WIDTH]
    for title, body in sections:
        lines += ["", title, "-" * len(title), *body]
    lines += ["", "", "Read and found correct: " + "_" * 24]
    return "\n".join(lines) + "\n"


def _loans(month: Month, today: date) -> list[str]:
    returned = [loan for loan in month.loans if loan.returned is not None]
    fees = sum(loan.fee_cents(today) for loan in returned)
    members = len({loan.member_id for loan in month.loans})
    late = sum(1 for loan in month.loans if loan.days_late(today))
    return [
        _row("tools that went out", str(len(month.loans))),
        _row("members who borrowed", str(members)),
        _row("back again", str(len(returned))),
        _row("late, now or at their return", str(late)),
        _row("fees", f"{fees / 100:.2f}"),
    ]


def _most_wanted(month: Month) -> list[str]:
    names = {tool.tool_id: tool.name for tool in month.tools}
    counted = Counter(loan.tool_id for loan in month.loans)
    ranked = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
    if not ranked:
        return ["Nobody borrowed anything."]
    return [_row(names.get(tool_id, tool_id), str(count)) for tool_id, count in ranked]


def _repairs(month: Month) -> list[str]:
    broken = [tool for tool in month.tools if tool.condition is Condition.BROKEN]
    worn = sum(1 for tool in month.tools if tool.condition is Condition.WORN)
    lines = [_row(f"{tool.name}, shelf {tool.shelf}", "broken") for tool in broken]
    return [*lines, _row("worn but working", str(worn))]


def _shelves(month: Month) -> list[str]:
    shelves: defaultdict[str, int] = defaultdict(int)
    for tool in month.tools:
        shelves[tool.shelf] += 1
    return [_row(f"shelf {shelf}", str(count)) for shelf, count in sorted(shelves.items())]


def _row(left: str, right: str) -> str:
    dots = "." * max(WIDTH - len(left) - len(right) - 2, 2)
    return f"{left} {dots} {right}"
