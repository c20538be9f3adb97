"""Who owns a database, and what happens when it is changed from outside."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.store.failure import StoreReplaced, TransientStoreError
from actors.store.lease import OwnedElsewhere
from actors.store.queries import Reader
from actors.store.store import Store
from familiar import event as e
from familiar.errors import StaleEpoch
from tests.actors.store.conftest import NewUrl
from tests.actors.store.histories import lost_answer, number, seqs, submitted


@pytest.fixture
def pair(new_url: NewUrl) -> Iterator[tuple[Store, Store]]:
    """Two stores of one database."""
    url = new_url()
    stores = (Store.open(url, create=True), Store.open(url, create=True))
    yield stores
    for store in stores:
        store.close()


# --- the lease


def test_an_epoch_is_not_taken_while_another_owner_is_there(pair: tuple[Store, Store]) -> None:
    first, second = pair
    before = time.time()
    epoch = first.take_epoch(lease_s=60)
    after = time.time()
    with pytest.raises(OwnedElsewhere, match=f"process {os.getpid()} on ") as caught:
        second.take_epoch(lease_s=60)
    assert (caught.value.pid, caught.value.remedy != "") == (os.getpid(), True)
    assert before + 60 <= caught.value.until <= after + 60
    first.append(number([submitted()], epoch), {})


def test_an_epoch_is_taken_with_proof_that_the_owner_is_gone(pair: tuple[Store, Store]) -> None:
    first, second = pair
    epoch = first.take_epoch(lease_s=60)
    assert second.take_epoch(lease_s=60, gone=first.owner_id) == epoch + 1
    with pytest.raises(StaleEpoch):
        first.append(number([submitted()], epoch), {})
    with pytest.raises(StaleEpoch):
        first.renew(60)


def test_an_epoch_is_taken_when_the_lease_ran_out_and_not_when_it_was_renewed(
    pair: tuple[Store, Store],
) -> None:
    first, second = pair
    first.take_epoch(lease_s=0.2)
    first.renew(60)
    time.sleep(0.3)
    with pytest.raises(OwnedElsewhere):
        second.take_epoch()
    first.renew(0.1)
    time.sleep(0.2)
    second.take_epoch()


def test_an_owner_that_ends_leaves_no_lease_behind(pair: tuple[Store, Store]) -> None:
    first, second = pair
    first.take_epoch(lease_s=60)
    first.release()
    second.take_epoch(lease_s=60)
    first.release()
    with pytest.raises(OwnedElsewhere):
        first.take_epoch()


def test_an_owner_takes_its_own_epoch_again(store: Store) -> None:
    assert store.take_epoch(lease_s=60) < store.take_epoch(lease_s=60)


# --- a commit without an answer


def test_a_new_run_whose_commit_gave_no_answer_goes_on(store: Store) -> None:
    """A writer asks for the next seq again before it repeats the append."""
    epoch = store.take_epoch()
    events = number([submitted(), e.TurnStarted(turn=1)], epoch)
    assert store.last_seq("run-1") == 0
    with lost_answer(store), pytest.raises(TransientStoreError):
        store.append(events, {})
    assert store.last_seq("run-1") == 0
    assert store.last_seq("run-1") == 0
    store.append(events, {})
    assert store.last_seq("run-1") == 2
    assert seqs(list(store.events("run-1"))) == [1, 2]


def test_more_events_can_come_with_those_whose_commit_gave_no_answer(store: Store) -> None:
    epoch = store.take_epoch()
    events = number([submitted(), e.TurnStarted(turn=1)], epoch)
    with lost_answer(store):
        for _ in range(3):
            with pytest.raises(TransientStoreError):
                store.append(events, {})
    other = number([submitted()], epoch, "run-2")
    store.append([*events, *other], {})
    store.append(number([e.TurnStarted(turn=2)], epoch, first=3), {})
    assert seqs(list(store.events("run-1"))) == [1, 2, 3]
    assert seqs(list(store.events("run-2"))) == [1]


def test_an_append_that_was_not_committed_is_written_by_its_repetition(store: Store) -> None:
    epoch = store.take_epoch()
    events = number([submitted()], epoch)
    commit = store._writer.dialect.do_commit

    def fail(connection: object) -> None:
        raise OSError(28, "No space left on device")

    store._writer.dialect.do_commit = fail  # type: ignore[method-assign]
    with pytest.raises(TransientStoreError):
        store.append(events, {})
    store._writer.dialect.do_commit = commit  # type: ignore[method-assign]
    store.append(events, {})
    store.append(number([e.TurnStarted(turn=1)], epoch, first=2), {})
    assert seqs(list(store.events("run-1"))) == [1, 2]


# --- a database that is changed from outside


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def owner(path: Path) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{path}", create=True)
    store.append(number([submitted()], store.take_epoch()), {})
    yield store
    store.close()


def _refuses_all(store: Store, why: str) -> None:
    epoch = store._epoch
    with pytest.raises(StoreReplaced, match=why) as caught:
        store.append(number([e.TurnStarted(turn=1)], epoch, first=2), {})
    assert caught.value.remedy
    with pytest.raises(StoreReplaced, match=why):
        store.append(number([submitted()], epoch, "new"), {})
    with pytest.raises(StoreReplaced, match=why):
        store.check()


def _others(path: Path) -> list[Path]:
    return [path.with_name(path.name + end) for end in ("-wal", "-shm")]


def test_a_removed_file_is_noticed(path: Path, owner: Store) -> None:
    reader = Reader.open(f"sqlite:///{path}")
    owner.check()
    path.unlink()
    _refuses_all(owner, "was removed")
    with pytest.raises(StoreReplaced):
        owner.find_idempotent("key")
    with pytest.raises(StoreReplaced):
        reader.list_runs()
    reader.close()


def test_a_file_with_the_same_name_is_noticed(path: Path, owner: Store) -> None:
    other = path.with_name("other.db")
    Store.open(f"sqlite:///{other}", create=True).close()
    other.rename(path)
    _refuses_all(owner, "another file")


def _checkpoint(path: Path, mode: str = "TRUNCATE") -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA wal_checkpoint({mode})")
    connection.close()


@pytest.mark.parametrize("same_file", [True, False])
def test_an_older_copy_is_noticed(path: Path, owner: Store, same_file: bool) -> None:
    _checkpoint(path)
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    owner.append(number([e.TurnStarted(turn=1)], owner._epoch, first=2), {})
    _checkpoint(path)
    owner.check()
    if same_file:
        path.write_bytes(copy.read_bytes())
    else:
        copy.rename(path)
    _refuses_all(owner, "older copy|another file")


def test_another_database_in_the_same_file_is_noticed(path: Path, owner: Store) -> None:
    other = path.with_name("other.db")
    Store.open(f"sqlite:///{other}", create=True).close()
    path.write_bytes(other.read_bytes())
    _refuses_all(owner, "another database")


def test_a_file_that_is_emptied_is_noticed(path: Path, owner: Store) -> None:
    path.write_bytes(b"")
    _refuses_all(owner, "no longer a familiar database")


def test_a_copy_that_keeps_the_time_is_noticed(path: Path, owner: Store) -> None:
    _checkpoint(path)
    copy = path.read_bytes()
    owner.append(number([e.TurnStarted(turn=1)], owner._epoch, first=2), {})
    _checkpoint(path)
    owner.check()
    found = path.stat()
    path.write_bytes(copy)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    _refuses_all(owner, "older copy")


@pytest.mark.parametrize("names", [("-wal",), ("", "-wal"), ("", "-wal", "-shm")])
@pytest.mark.parametrize("emptied", [True, False])
def test_a_log_that_is_cut_or_put_back_is_noticed(
    path: Path, owner: Store, names: tuple[str, ...], emptied: bool
) -> None:
    """SQLite itself goes on from what it has in memory, and after a restart all of it is gone."""
    owner.append(number([e.TurnStarted(turn=1)], owner._epoch, first=2), {})
    copies = {name: path.with_name(path.name + name).read_bytes() for name in names}
    owner.append(number([e.TurnStarted(turn=2)], owner._epoch, first=3), {})
    for name, copy in copies.items():
        gone = emptied and name == "-wal"
        path.with_name(path.name + name).write_bytes(b"" if gone else copy)
    _refuses_all(owner, "cut, or an older copy")


@pytest.mark.parametrize(
    "damage",
    ["DROP TABLE store", "DROP TABLE events", "ALTER TABLE store RENAME COLUMN commits TO others"],
)
def test_a_database_without_its_tables_is_no_longer_the_one(
    path: Path, owner: Store, damage: str
) -> None:
    connection = sqlite3.connect(path)
    connection.execute(damage)
    connection.close()
    with pytest.raises(StoreReplaced, match="lost its tables") as caught:
        owner.append(number([e.TurnStarted(turn=1)], owner._epoch, first=2), {})
    assert caught.value.remedy


def test_damaged_pages_are_noticed(path: Path, owner: Store) -> None:
    _checkpoint(path)
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * 8 * 4096)
    with pytest.raises(StoreReplaced, match="damaged"):
        owner.append(number([submitted()], owner._epoch, "new"), {})


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_a_checkpoint_by_another_program_does_no_harm(path: Path, owner: Store, mode: str) -> None:
    for seq in range(2, 5):
        owner.append(number([e.TurnStarted(turn=seq)], owner._epoch, first=seq), {})
        _checkpoint(path, mode)
        owner.check()


@pytest.mark.parametrize(
    "statements",
    [
        ("VACUUM",),
        ("REINDEX", "ANALYZE"),
        ("PRAGMA wal_checkpoint(TRUNCATE)", "CREATE TABLE mine (x)", "DROP TABLE mine"),
    ],
)
def test_work_of_another_program_does_no_harm(
    path: Path, owner: Store, statements: tuple[str, ...]
) -> None:
    for seq in range(2, 5):
        owner.append(number([e.TurnStarted(turn=seq)], owner._epoch, first=seq), {})
        connection = sqlite3.connect(path, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()
        owner.check()


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("UPDATE store SET commits = commits - 1", "commits"),
        ("UPDATE store SET epoch = epoch - 1", "epoch went back"),
        ("UPDATE store SET store_id = 'other'", "id is another"),
        ("DELETE FROM store", "id is another"),
        ("DROP TABLE store", "lost its tables"),
    ],
)
def test_a_postgresql_database_that_was_put_back_is_noticed(
    postgres_urls: NewUrl, damage: str, why: str
) -> None:
    store = Store.open(postgres_urls(), create=True)
    try:
        epoch = store.take_epoch()
        store.append(number([submitted()], epoch), {})
        with store._engine.begin() as connection:
            connection.exec_driver_sql(damage)
        with pytest.raises(StoreReplaced, match=why):
            store.append(number([submitted()], epoch, "new"), {})
    finally:
        store.close()
