"""The shed's memory: one SQLite file with tools, members and loans.

Reading gives values of `schema`; writing takes them. A loan and the change to its tool are written
in one transaction, so a power cut can lose the newest loan but never half of one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from shed.schema import Condition, Loan, Member, Tool

TABLES = """
CREATE TABLE IF NOT EXISTS tools (
    tool_id TEXT PRIMARY KEY, name TEXT NOT NULL, shelf TEXT NOT NULL,
    deposit_cents INTEGER NOT NULL, condition TEXT NOT NULL, needs_induction INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS members (
    member_id TEXT PRIMARY KEY, name TEXT NOT NULL, joined TEXT NOT NULL,
    inductions TEXT NOT NULL, blocked INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS loans (
    loan_id INTEGER PRIMARY KEY AUTOINCREMENT, tool_id TEXT NOT NULL, member_id TEXT NOT NULL,
    since TEXT NOT NULL, days INTEGER NOT NULL, returned TEXT, came_back TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS one_open_loan ON loans (tool_id) WHERE returned IS NULL;
"""


class Store:
    """Open with a path; `:memory:` keeps everything for the length of a test."""

    def __init__(self, path: Path | str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.executescript(TABLES)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def put_tool(self, tool: Tool) -> None:
        row = (tool.tool_id, tool.name, tool.shelf, tool.deposit_cents, tool.condition.value)
        self._connection.execute(
            "INSERT OR REPLACE INTO tools VALUES (?, ?, ?, ?, ?, ?)",
            (*row, int(tool.needs_induction)),
        )

    def tools(self) -> list[Tool]:
        rows = self._connection.execute("SELECT * FROM tools ORDER BY shelf, name")
        return [Tool(i, n, s, d, Condition(c), bool(x)) for i, n, s, d, c, x in rows]

    def put_member(self, member: Member) -> None:
        inductions = ",".join(sorted(member.inductions))
        row = (member.member_id, member.name, member.joined.isoformat(), inductions)
        self._connection.execute(
            "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?)", (*row, int(member.blocked))
        )

    def member(self, member_id: str) -> Member | None:
        found = self._connection.execute(
            "SELECT * FROM members WHERE member_id = ?", (member_id,)
        ).fetchone()
        if found is None:
            return None
        name, joined, inductions, blocked = found[1:]
        known = frozenset(filter(None, inductions.split(",")))
        return Member(member_id, name, date.fromisoformat(joined), known, bool(blocked))

    def add_loan(self, tool_id: str, member_id: str, since: date, days: int) -> Loan:
        cursor = self._connection.execute(
            "INSERT INTO loans (tool_id, member_id, since, days) VALUES (?, ?, ?, ?)",
            (tool_id, member_id, since.isoformat(), days),
        )
        return Loan(cursor.lastrowid or 0, tool_id, member_id, since, days)

    def close_loan(self, loan: Loan, today: date, condition: Condition) -> None:
        with self.transaction():
            self._connection.execute(
                "UPDATE loans SET returned = ?, came_back = ? WHERE loan_id = ?",
                (today.isoformat(), condition.value, loan.loan_id),
            )
            self._connection.execute(
                "UPDATE tools SET condition = ? WHERE tool_id = ?",
                (condition.value, loan.tool_id),
            )

    def open_loans(self) -> list[Loan]:
        rows = self._connection.execute(
            "SELECT loan_id, tool_id, member_id, since, days FROM loans WHERE returned IS NULL"
        )
        return [Loan(i, t, m, date.fromisoformat(s), d) for i, t, m, s, d in rows]
