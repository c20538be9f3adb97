"""Which databases are opened, which are made, and which are rejected."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.store.failure import TransientStoreError
from actors.store.queries import Reader
from actors.store.store import Store
from familiar.errors import StoreError
from familiar.event import Event
from tests.actors.store.conftest import NewUrl
from tests.actors.store.histories import STORY_TEXTS, number, pragma, ref, story, submitted


def test_a_new_database_gets_an_id_that_stays(new_url: NewUrl) -> None:
    url = new_url()
    first = Store.open(url, create=True)
    first.close()
    again = Store.open(url, create=False, expected_id=first.store_id)
    again.close()
    assert again.store_id == first.store_id
    reader = Reader.open(url)
    assert reader.store_id == first.store_id
    reader.close()


def test_another_database_than_the_expected_one_is_rejected(new_url: NewUrl) -> None:
    url = new_url()
    Store.open(url, create=True).close()
    with pytest.raises(StoreError, match="is not the expected one"):
        Store.open(url, create=False, expected_id="not-this")


def test_nothing_is_made_without_create(tmp_path: Path) -> None:
    path = tmp_path / "typo.db"
    for opener in (
        lambda: Store.open(f"sqlite:///{path}", create=False),
        lambda: Reader.open(f"sqlite:///{path}"),
    ):
        with pytest.raises(StoreError, match=r"no database at .*typo\.db") as caught:
            opener()
        assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.postgres
def test_an_empty_postgresql_database_is_filled_only_with_create(postgres_urls: NewUrl) -> None:
    url = postgres_urls()
    with pytest.raises(StoreError, match="no tables"):
        Store.open(url, create=False)
    with pytest.raises(StoreError, match="no tables"):
        Reader.open(url)
    Store.open(url, create=True).close()
    Store.open(url, create=False).close()


@pytest.mark.postgres
def test_a_postgresql_database_with_other_tables_is_rejected(postgres_urls: NewUrl) -> None:
    import psycopg

    url = postgres_urls()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE invoices (id int)")
    with pytest.raises(StoreError, match="invoices"):
        Store.open(url, create=True)
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
    assert found == [("invoices",)]


def _foreign_sqlite(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE invoices (id INTEGER)")
    connection.execute("INSERT INTO invoices VALUES (7)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.touch(), "the file is empty"),
        (lambda path: path.write_text("a letter to grandpa\n" * 100), "not a SQLite file"),
        (_foreign_sqlite, "other tables"),
        (lambda path: path.mkdir(), "a directory"),
    ],
)
def test_a_file_that_is_not_ours_is_rejected_and_left_as_it_is(
    tmp_path: Path, make: object, why: str, create: bool
) -> None:
    path = tmp_path / "other.db"
    assert callable(make)
    make(path)
    before = path.read_bytes() if path.is_file() else None

    with pytest.raises(StoreError, match=why) as caught:
        Store.open(f"sqlite:///{path}", create=create)
    assert "Set store.url" in caught.value.remedy
    with pytest.raises(StoreError, match=why):
        Reader.open(f"sqlite:///{path}")
    assert (path.read_bytes() if path.is_file() else None) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["other.db"]


def test_a_database_of_a_newer_version_is_rejected(new_url: NewUrl) -> None:
    url = new_url()
    store = Store.open(url, create=True)
    with store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    with pytest.raises(StoreError, match="newer version"):
        Store.open(url, create=False)
    with pytest.raises(StoreError, match="9999"):
        Reader.open(url)


@pytest.mark.parametrize(
    "url",
    [
        *("sqlite://", "sqlite:///:memory:", "mysql://host/db", "not a url", "", " ", "\n", "x.db"),
        *("sqlite:///x.db?mode=ro", "sqlite:///a?b.db", "sqlite:///file:x.db", "sqlite:/x.db"),
        *("sqlite:///x\0.db", "sqlite:///x\n.db", "file:///x.db", "postgresql://h:99999/db"),
        *("postgresql://h:x/db", "postgresql://h/d\nb", "jdbc:postgresql://h/db", "host=h user=u"),
    ],
)
def test_a_url_that_names_no_lasting_database_is_rejected(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(url, create=True)
    assert "store.url" in str(caught.value)


def test_case_and_blanks_around_a_url_do_not_count(tmp_path: Path) -> None:
    Store.open(f" SQLite:///{tmp_path}/a.db\r\n", create=True).close()
    assert (tmp_path / "a.db").is_file()


def test_a_password_is_not_shown() -> None:
    with pytest.raises(StoreError) as caught:
        Reader.open("postgresql://me:hunter2@127.0.0.1:1/db")
    assert "hunter2" not in str(caught.value)


def test_the_home_directory_is_expanded_and_parents_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Store.open("sqlite:///~/state/familiar/familiar.db", create=True).close()
    assert (tmp_path / "state/familiar/familiar.db").is_file()


def test_a_path_with_odd_characters_is_that_path(tmp_path: Path) -> None:
    path = tmp_path / "a b%20c#d?.db"
    Store.open(
        "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F"), create=True
    ).close()
    found = [entry.name for entry in tmp_path.iterdir()]
    assert len([name for name in found if name.endswith(".db")]) == 1
    assert all(name.startswith("a b") for name in found)


def test_commits_of_sqlite_are_on_the_disk_when_they_return(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/a.db", create=True)
    mode = pragma(store, "journal_mode")
    synchronous = pragma(store, "synchronous")
    foreign_keys = pragma(store, "foreign_keys")
    store.close()
    assert (mode, synchronous, foreign_keys) == ("wal", 2, 1)


# --- read-only


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that `nobody` can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="fst", dir="/tmp"))
    path.chmod(0o755)
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


def _in_child(function: object, *arguments: object) -> list[str]:
    """Run `function(report, *arguments)` in a process that is not root; what it reported."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)

    def child() -> None:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
        try:
            assert callable(function)
            function(send.send, *arguments)
        except StoreError as error:
            send.send(f"{type(error).__name__}: {error}")
        send.close()

    process = context.Process(target=child)
    process.start()
    send.close()
    said: list[str] = []
    try:
        while True:
            said.append(receive.recv())
    except EOFError:
        pass
    process.join(30)
    assert process.exitcode == 0
    return said


def _open(report: object, url: str, create: bool) -> None:
    store = Store.open(url, create=create)
    store.take_epoch()
    assert callable(report)
    report("opened")


def test_a_read_only_file_or_directory_is_rejected_with_the_remedy(open_dir: Path) -> None:
    url = f"sqlite:///{open_dir}/familiar.db"
    Store.open(url, create=True).close()
    for entry in open_dir.iterdir():
        entry.chmod(0o444)
    open_dir.chmod(0o555)

    (said,) = _in_child(_open, url, False)
    assert "read-only" in said or "cannot be opened" in said
    assert "Give this user write permission" in said
    assert str(open_dir) in said


def test_a_directory_where_no_file_can_be_made_is_rejected(open_dir: Path) -> None:
    open_dir.chmod(0o555)
    (said,) = _in_child(_open, f"sqlite:///{open_dir}/familiar.db", True)
    assert said.startswith(("StoreError", "TransientStoreError"))
    assert "Permission denied" in said
    assert list(open_dir.iterdir()) == []


# --- a full disk


def _fill(store: Store, epoch: int, run_id: str = "run-1", limit: int = 2000) -> list[Event]:
    """Append runs of the same size until the disk is full; the events that did not fit."""
    store.append(number([submitted()], epoch, run_id), {})
    for seq in range(2, limit):
        goal = f"{seq} " + "x" * 50_000
        body = submitted(goal=ref(goal))
        events = [Event(run_id, seq, epoch, float(seq), body)]
        try:
            store.append(events, {ref(goal).sha256: goal})
        except TransientStoreError as error:
            said = str(error)
            break
    else:
        raise AssertionError("the disk was never full")
    assert "full" in said
    assert str(store.address) in said
    assert "Free space" in said
    return events


def _check_repeats(store: Store, events: list[Event], epoch: int) -> None:
    last = events[0].seq
    assert store.last_seq("run-1") == last - 1
    store.append(events, {})
    store.append(number(story(), epoch, "run-2"), STORY_TEXTS)
    assert [event.seq for event in store.events("run-1")] == list(range(1, last + 1))
    assert pragma(store, "integrity_check") == "ok"


def test_a_full_database_loses_nothing_and_the_append_can_be_repeated(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/a.db", create=True)
    epoch = store.take_epoch()
    pages = pragma(store, "page_count")
    pragma(store, f"max_page_count = {pages + 100}")
    events = _fill(store, epoch)
    pragma(store, "max_page_count = 1000000")
    _check_repeats(store, events, epoch)
    store.close()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 2 MiB of its own, where the system lets us mount one."""
    path = Path(tempfile.mkdtemp(prefix="fsd", dir="/tmp"))
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.call(command, stderr=subprocess.DEVNULL) != 0:
        path.rmdir()
        pytest.skip("only root can mount a small file system, and not in every container")
    yield path
    subprocess.run(["umount", str(path)], check=True)
    path.rmdir()


def test_a_full_disk_loses_nothing_and_the_append_can_be_repeated(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 800_000)
    store = Store.open(f"sqlite:///{small_disk}/a.db", create=True)
    try:
        epoch = store.take_epoch()
        events = _fill(store, epoch)
        with pytest.raises(TransientStoreError):
            store.append(events, {ref("y" * 400_000).sha256: "y" * 400_000})
        ballast.unlink()
        _check_repeats(store, events, epoch)
    finally:
        store.close()


def test_a_database_is_not_half_made_on_a_full_disk(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (2 * 1024 * 1024 - 30_000))
    with pytest.raises(StoreError, match="full"):
        Store.open(f"sqlite:///{small_disk}/a.db", create=True)
    assert [entry.name for entry in small_disk.iterdir()] == ["ballast"]
    ballast.unlink()
    Store.open(f"sqlite:///{small_disk}/a.db", create=True).close()
