"""PostgreSQL as it is run: cut connections, time-outs, options of the URL, poolers, passwords."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from actors.store.address import Address
from actors.store.failure import TransientStoreError, store_error
from actors.store.queries import Reader
from actors.store.schema import NoTables
from actors.store.store import Store
from familiar import event as e
from familiar.errors import StoreError
from tests.actors.store.conftest import NewUrl
from tests.actors.store.histories import STORY_TEXTS, number, seqs, story, submitted
from tests.actors.store.pgbouncer import PORT, pgbouncer

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres_urls: NewUrl) -> str:
    return postgres_urls()


# --- starting


def test_an_empty_database_says_that_the_first_start_fills_it(url: str) -> None:
    with pytest.raises(NoTables, match="holds no tables yet") as caught:
        Reader.open(url)
    assert "Start the service once" in caught.value.remedy


def test_services_that_start_at_once_on_an_empty_database_share_it(url: str) -> None:
    ids: list[str] = []

    def start() -> None:
        store = Store.open(url, create=True)
        ids.append(store.store_id)
        store.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4
    assert len(set(ids)) == 1


def test_options_of_the_url_hold_for_writer_and_reader(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA apart")
        connection.execute("CREATE TABLE public.invoices (id int)")
    apart = url + "&options=-csearch_path%3Dapart&application_name=tested"
    store = Store.open(apart, create=True)
    store.append(number(story(), store.take_epoch()), STORY_TEXTS)
    reader = Reader.open(apart)
    assert len(reader.events("run-1")) == len(story())
    store._writer.close()
    for engine in (store._writer.engine, store._engine, reader._engine):
        with engine.connect() as connection:
            assert connection.execute(text("SHOW search_path")).scalar() == "apart"
            assert connection.execute(text("SHOW application_name")).scalar() == "tested"
    with reader._engine.connect() as connection:
        assert connection.execute(text("SHOW transaction_read_only")).scalar() == "on"
        assert connection.execute(text("SHOW transaction_isolation")).scalar() == "repeatable read"
    reader.close()
    store.close()


def test_tls_options_reach_every_connection(url: str) -> None:
    """A Unix socket has no TLS, so a server that must have it is told apart by its host."""
    away = "postgresql://me@127.0.0.1:1/db?sslmode=verify-full&sslrootcert=/none.crt"
    for opener in (lambda: Store.open(away, create=True), lambda: Reader.open(away)):
        with pytest.raises(StoreError, match=r"none\.crt|refused"):
            opener()


# --- frozen servers and time-outs


def test_a_server_that_is_frozen_runs_into_a_time_out(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process of the server is stopped: its sockets stay open and nothing answers."""
    monkeypatch.setattr("actors.store.address.ANSWER_S", 1.0)
    url += "&connect_timeout=2"
    store, reader = Store.open(url, create=True), Reader.open(url)
    epoch = store.take_epoch()
    store.append(number([submitted()], epoch), {})
    with psycopg.connect(url, autocommit=True) as connection:
        server = psutil.Process(connection.info.backend_pid).parent()
    assert server is not None
    frozen = [server, *server.children()]
    events = number([submitted(), e.TurnStarted(turn=1)], epoch)[1:]
    for process in frozen:
        process.suspend()
    try:
        with pytest.raises(TransientStoreError, match="no answer in 1 s"):
            store.append(events, {})
        with pytest.raises(TransientStoreError, match="timeout"):
            reader.totals()
    finally:
        for process in reversed(frozen):
            process.resume()
    store.append(events, {})
    assert seqs(reader.events("run-1")) == [1, 2]
    reader.close()
    store.close()


@pytest.mark.parametrize(
    "setting", ["idle_in_transaction_session_timeout = '1ms'", "statement_timeout = '1ms'"]
)
def test_a_time_out_of_the_role_is_transient(url: str, setting: str) -> None:
    store = Store.open(url, create=True)
    try:
        with store._transaction() as connection:
            connection.execute(text(f"SET LOCAL {setting}"))
            threading.Event().wait(0.1)
            connection.execute(text("SELECT pg_sleep(0.1)"))
    except TransientStoreError:
        pass
    else:
        raise AssertionError("no error")
    store.take_epoch()
    store.close()


# --- what an error means

TRANSIENT = [
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.QueryCanceled,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.IdleSessionTimeout,
    psycopg.errors.TransactionTimeout,
    psycopg.errors.AdminShutdown,
    psycopg.errors.CrashShutdown,
    psycopg.errors.CannotConnectNow,
    psycopg.errors.TooManyConnections,
    psycopg.errors.OutOfMemory,
    psycopg.errors.DiskFull,
    psycopg.errors.IoError,
    psycopg.errors.ConnectionFailure,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InvalidSqlStatementName,
    psycopg.errors.DuplicatePreparedStatement,
    psycopg.errors.InFailedSqlTransaction,
    psycopg.errors.ObjectNotInPrerequisiteState,
    psycopg.errors.ObjectInUse,
    psycopg.errors.IdleSessionTimeout,
]
PERMANENT = [
    psycopg.errors.InvalidPassword,
    psycopg.errors.InvalidAuthorizationSpecification,
    psycopg.errors.InvalidCatalogName,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UniqueViolation,
    psycopg.errors.SyntaxError,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.DataCorrupted,
    psycopg.errors.IndexCorrupted,
]
PERMANENT_TEXTS = [
    'connection failed: FATAL:  password authentication failed for user "me"',
    'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "me", database "db", no encryption',
    'FATAL:  database "nope" does not exist',
    'FATAL:  role "nope" does not exist',
    "server does not support SSL, but SSL was required",
    'root certificate file "/none.crt" does not exist',
    "SSL error: certificate verify failed",
    "fe_sendauth: no password supplied",
    "FATAL: SASL authentication failed",
    'FATAL:  pg_hba.conf rejects connection for host "10.0.0.1", user "me", database "db"',
    "FATAL:  unsupported startup parameter in options: search_path",
    "FATAL:  Tenant or user not found",
    "This proxy requires TLS connections.",
    "SSL error: tlsv1 alert unknown ca",
    "SSL error: wrong version number",
    "SSL error: sslv3 alert handshake failure",
    'private key file "/k" has group or world access',
    'definition of service "x" not found',
    'invalid port number: "0"',
    'invalid "ssl_min_protocol_version" value: "TLSv9"',
    "authentication method 10 not supported",
    "channel binding required, but not supported by server's authentication request",
]
TRANSIENT_TEXTS = [
    "connection to server at 127.0.0.1, port 1 failed: Connection refused",
    "server closed the connection unexpectedly",
    "FATAL:  the database system is starting up",
    "FATAL:  sorry, too many clients already",
    "connection timeout expired",
    'could not translate host name "db" to address: Temporary failure in name resolution',
    "consuming input failed: SSL SYSCALL error: EOF detected",
    "consuming input failed: SSL error: unexpected eof while reading",
    "SSL error: decryption failed or bad record mac",
    "SSL connection has been closed unexpectedly",
    "could not receive data from server: Connection timed out",
    "FATAL:  no more connections allowed (max_client_conn)",
    "FATAL:  query_wait_timeout",
    "FATAL:  server login has been failing, try again later (server_login_retry)",
    "FATAL:  the database system is in recovery mode",
    "session is not read-write",
    "the connection is lost",
    "connection is bad: no error details available",
]


@pytest.mark.parametrize("kind", TRANSIENT)
def test_errors_that_pass(kind: type[psycopg.Error]) -> None:
    assert type(store_error(kind("said"), "db")) is TransientStoreError


@pytest.mark.parametrize("kind", PERMANENT)
def test_errors_that_stay(kind: type[psycopg.Error]) -> None:
    assert not isinstance(store_error(kind("said"), "db"), TransientStoreError)


@pytest.mark.parametrize("said", TRANSIENT_TEXTS)
def test_connections_that_may_come_back(said: str) -> None:
    assert type(store_error(psycopg.OperationalError(said), "db")) is TransientStoreError


@pytest.mark.parametrize("said", PERMANENT_TEXTS)
def test_connections_that_are_rejected(said: str) -> None:
    error = store_error(psycopg.OperationalError(said), "db")
    assert not isinstance(error, TransientStoreError)
    assert "store.url" in error.remedy


@pytest.mark.parametrize(
    "option",
    [
        *("autocommit=1", "row_factory=x", "prepare_threshold=5", "sslmode=a&sslmode=b"),
        *("sslmode=odd", "nonsense=1", "connect_timeout=abc", "service=nowhere", "port=0"),
        *("target_session_attrs=odd", "ssl_min_protocol_version=odd", "hostaddr=999.1.1.1"),
    ],
)
def test_an_option_that_is_none_is_no_outage(option: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(f"postgresql://me:hunter2@127.0.0.1:1/db?{option}", create=True)
    assert not isinstance(caught.value, TransientStoreError)
    assert "hunter2" not in f"{caught.value} {caught.value.remedy}"


def test_a_role_and_a_database_that_are_not_there(url: str) -> None:
    for wrong in (url.replace("tests@", "nobody-here@"), url.replace("/test", "/nothing")):
        with pytest.raises(StoreError, match="does not exist") as caught:
            Store.open(wrong, create=True)
        assert not isinstance(caught.value, TransientStoreError)


# --- passwords

SECRETS = ["p@ss:w/rd?#x", "a@b", "a@b@c/d", "ss@1:2", "@", "x@[y", "päss@wort", "a@b:99999999/c"]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_part_of_an_unescaped_password_is_shown(secret: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(f"postgresql://me:{secret}@127.0.0.1:1/db", create=True)
    said = f"{caught.value} {caught.value.__cause__!r} {caught.value.remedy}"
    for part in ("ss:w", "rd?", "b@c", "99999", "wort", "[y", "b:9"):
        assert part not in said
    assert "%40" in caught.value.remedy


@pytest.mark.parametrize("where", ["me:hunter2@127.0.0.1:1/db", "127.0.0.1:1/db?password=hunter2"])
def test_a_password_is_nowhere(where: str) -> None:
    url = f"postgresql://{where}"
    address = Address.parse(url)
    shown = [str(address), repr(address)]
    for opener in (lambda: Reader.open(url), lambda: Store.open(url, create=True)):
        with pytest.raises(StoreError) as caught:
            opener()
        shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    assert "hunter2" not in " ".join(shown)


# --- PgBouncer


def _socket(url: str) -> str:
    found = make_url(url).query["host"]
    assert isinstance(found, str)
    return found


@pytest.fixture
def pooled(url: str) -> Iterator[str]:
    if shutil.which("pgbouncer") is None and not Path("/usr/sbin/pgbouncer").exists():
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    with pgbouncer(_socket(url)) as home:
        yield url.replace(_socket(url), f"{home}&port={PORT}")


def test_a_pooler_in_transaction_mode_may_change_the_session(pooled: str) -> None:
    store = Store.open(pooled, create=True)
    reader = Reader.open(pooled)
    epoch = store.take_epoch(lease_s=60)
    failures: list[Exception] = []

    def read() -> None:
        try:
            for _ in range(20):
                reader.list_runs()
                reader.totals()
        except Exception as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for thread in readers:
        thread.start()
    for index in range(20):
        bodies = story() if index == 0 else [submitted(), e.TurnStarted(turn=1)]
        store.append(number(bodies, epoch, f"run-{index}"), STORY_TEXTS)
    for thread in readers:
        thread.join()
    assert failures == []
    assert len(reader.list_runs()) == 20
    assert len(reader.events("run-0")) == len(story())
    store.renew(60)
    store.rebuild_projections()
    reader.close()
    store.close()


def test_a_wrong_password_is_no_transient_error_and_is_not_shown(url: str, pooled: str) -> None:
    with pgbouncer(_socket(url), auth="scram-sha-256") as home:
        guarded = url.replace(_socket(url), f"{home}&port={PORT}")
        Store.open(guarded.replace("tests@", "tests:right@"), create=True).close()
        with pytest.raises(StoreError, match="rejects the connection") as caught:
            Store.open(guarded.replace("tests@", "tests:wr0ng@"), create=True)
    assert not isinstance(caught.value, TransientStoreError)
    assert "wr0ng" not in f"{caught.value} {caught.value.__cause__!r}"
