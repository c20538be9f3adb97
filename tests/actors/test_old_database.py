"""A database of the version before runs held limits: open runs end, ended runs stay unchanged."""

from __future__ import annotations

import gzip
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.local import LocalCluster
from familiar.config.load import parse_config
from tests.actors.deployment import Deployment, deployed

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

FIXTURES = Path(__file__).parents[1] / "fixtures"
PLACEHOLDER = "FOLDER"

Row = tuple[int, int, float, str]
"""seq, epoch, at and body of one event, as they are stored."""


@dataclass(frozen=True, slots=True)
class Old:
    """The old database, now served, and the rows that it held before, by run."""

    deployment: Deployment
    rows: dict[str, list[Row]]
    ended: list[str]
    open: list[str]


def rows_of(database: Path) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    with closing(sqlite3.connect(database)) as connection:
        events = connection.execute(
            "SELECT run_id, seq, epoch, at, body FROM events ORDER BY run_id, seq"
        )
        for run_id, *row in events:
            found.setdefault(run_id, []).append((row[0], row[1], row[2], row[3]))
    return found


def types_of(rows: list[Row]) -> list[str]:
    return [json.loads(body)["type"] for *_, body in rows]


def restore(folder: Path) -> Path:
    """The database of the dump, with its paths below `folder`, as if written now: an open run's
    budget of time counts from its start."""
    dump = gzip.decompress((FIXTURES / "before-limits.sql.gz").read_bytes()).decode()
    database = folder / "familiar.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(dump.replace(PLACEHOLDER, str(folder)))
        (newest,) = connection.execute("SELECT max(at) FROM events").fetchone()
        connection.execute("UPDATE events SET at = at + ?", (time.time() - newest,))
        connection.commit()
    return database


@pytest.fixture(scope="module")
def old(shared_ray: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    folder = tmp_path_factory.mktemp("old")
    rows = rows_of(restore(folder))
    settings = (FIXTURES / "before-limits.yaml").read_text().replace(PLACEHOLDER, str(folder))
    over = {run for run in rows if "run.ended" in types_of(rows[run])}
    with deployed(parse_config(settings), folder) as deployment:
        yield Old(deployment, rows, sorted(over), sorted(rows.keys() - over))


def test_the_database_holds_two_ended_and_two_open_runs_without_limits(old: Old) -> None:
    assert (len(old.ended), len(old.open)) == (2, 2)
    last = {types_of(old.rows[run])[-1] for run in old.open}
    assert last == {"plan.accepted", "call.dispatched"}
    assert all("limits" not in json.loads(rows[0][3]) for rows in old.rows.values())


def test_open_runs_go_on_from_where_they_were_and_end(old: Old) -> None:
    old.deployment.wait_ended(old.open)
    now = rows_of(old.deployment.folder / "familiar.db")
    for run in old.open:
        before = old.rows[run]
        assert now[run][: len(before)] == before
        assert old.deployment.reader.run(run).status == "succeeded"
        assert types_of(now[run]).count("plan.accepted") == 1


def test_ended_runs_still_read_and_every_row_of_theirs_is_as_it_was(old: Old) -> None:
    now = rows_of(old.deployment.folder / "familiar.db")
    for run in old.ended:
        assert now[run] == old.rows[run]
        history = old.deployment.history(run)
        assert [event.seq for event in history] == [seq for seq, *_ in old.rows[run]]
        assert [event.body.type for event in history] == types_of(old.rows[run])
        assert old.deployment.reader.run(run).status == "succeeded"
        assert old.deployment.reader.calls(run)
        assert old.deployment.reader.files(run)
