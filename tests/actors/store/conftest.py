"""Databases for the tests: a SQLite file each, and a PostgreSQL database each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.store.store import Store

NewUrl = Callable[[], str]
NewStore = Callable[[], Store]


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)],
)
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    """URLs of databases that do not exist yet (SQLite) or are empty (PostgreSQL)."""
    if request.param == "postgresql":
        urls: NewUrl = request.getfixturevalue("postgres_urls")
        return urls
    numbers = itertools.count(1)
    return lambda: f"sqlite:///{tmp_path}/{next(numbers)}.db"


@pytest.fixture
def new_store(new_url: NewUrl) -> Iterator[NewStore]:
    """New stores, closed at the end of the test."""
    opened: list[Store] = []

    def new() -> Store:
        opened.append(Store.open(new_url(), create=True))
        return opened[-1]

    yield new
    for store in opened:
        store.close()


@pytest.fixture
def store(new_store: NewStore) -> Store:
    return new_store()
