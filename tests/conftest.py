"""Shared by all tests: the order of the markers and the folder of recorded material.

A test without a marker is a unit test. These run first, so that a broken parser shows before
minutes went into starting engines. Of the others the longest files come first, so that several
workers end together.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from cluster.local import LocalCluster
from tests import shared_ray as shared

# No test asserts a time, and Hypothesis's default deadline for an example is one.
settings.register_profile("familiar", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("familiar")

REPOSITORY = Path(__file__).resolve().parent.parent
TOLD = "told"
ORDER = ("unit", "engine", "ray", "postgres", "browser", "gpu", "alone")


def _place(item: pytest.Item) -> tuple[int, bool]:
    stage = max(ORDER.index(name) for name in ORDER if item.get_closest_marker(name))
    return stage, item.get_closest_marker("long") is None


def pytest_configure() -> None:
    """A shell starts what it puts into the background with Ctrl-C ignored, and children inherit
    that; tests that interrupt a program need it as it is in a terminal."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what carries no marker as `unit` and sort by cost, stable within a stage. Soak tests run
    only where `-m` names them."""
    if "soak" not in config.option.markexpr:
        soak = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if item not in soak]
    for item in items:
        if not any(item.get_closest_marker(name) for name in ORDER):
            item.add_marker("unit")
    items.sort(key=_place)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Recorded material too large to keep in the repository: `../shared` beside the checkout."""
    found = REPOSITORY.parent / "shared"
    if not found.is_dir():
        pytest.skip(f"{found} is not there: this test compares with recorded material kept outside")
    return found


@pytest.fixture(scope="module")
def shared_ray() -> LocalCluster:
    """A Ray of four cores and four logical GPUs, to which this process is connected. Other modules
    use it, too, one after the other."""
    return shared.running().cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """End the shared Ray where the next module does not ask for it."""
    yield
    if nextitem is None or (
        nextitem.path != item.path and "shared_ray" not in nextitem.fixturenames  # type: ignore[attr-defined]
    ):
        shared.end()


@pytest.fixture(scope="session")
def postgres_urls() -> Iterator[Callable[[], str]]:
    """URLs of new, empty PostgreSQL databases on one server."""
    import psycopg

    from tests.actors.store.postgresql import PostgresMissing, postgres_server

    try:
        with postgres_server() as url:
            numbers = itertools.count(1)

            def new() -> str:
                name = f"test{next(numbers)}"
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(f"CREATE DATABASE {name}".encode())
                return url.replace("/postgres?", f"/{name}?")

            yield new
    except PostgresMissing as error:
        pytest.skip(f"PostgreSQL is not there: {error}")


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say something that stands below the results, also when a worker runs the test."""
    return lambda line: record_property(TOLD, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for name, line in report.user_properties:
                    if name == TOLD:
                        terminalreporter.write_line(str(line))
