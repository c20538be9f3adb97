"""Orders and outcomes over real connections: both ends in this event loop, a workbench stubbed."""

from __future__ import annotations

import asyncio
import datetime
import gc
import ipaddress
import pickle
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from actors import order_port
from actors.frames import Frames
from actors.order_port import Line, OrderPort, PortAddress
from actors.replica_client import ReplicaClient
from familiar.call import CallKey, CallOrder, CallOutcome, Deadlines, Timing, Usage
from familiar.engine import GenerateRequest, Sampling
from familiar.errors import StaleEpoch
from tests.actors.until import until


def order(call: str, epoch: int = 1) -> CallOrder:
    key = CallKey("r", call, 1)
    request = GenerateRequest(str(key), (), Sampling())
    return CallOrder(key, epoch, "a", request, Deadlines(1, 1, 1))


def outcome(key: CallKey, raw: str = "") -> CallOutcome:
    return CallOutcome(key, Timing(started_at=0.0, ended_at=1.0), Usage(), raw=raw)


class Process:
    """A replica's process as its port and its actor's handle show it."""

    def __init__(self) -> None:
        self.port = OrderPort(self.take)
        self.ordered: list[tuple[int, list[str]]] = []
        self.line: Line | None = None
        self.epoch = 0
        self.address: PortAddress | None = None
        self.order_port = self

    async def remote(self) -> PortAddress:
        self.address = self.address or await self.port.open("127.0.0.1")
        return self.address

    def take(self, orders: Sequence[CallOrder], line: Line) -> None:
        epoch = orders[0].epoch
        if epoch < self.epoch:
            raise StaleEpoch(f"This workbench serves epoch {self.epoch}.", remedy="Stop.")
        if epoch > self.epoch:
            self.epoch = epoch
            self.port.refuse_others(line, StaleEpoch(f"Epoch {epoch} has taken over."))
        self.line = line
        self.ordered.append((epoch, [order.key.call_id for order in orders]))
        for _ in orders:
            line.owe()

    async def has_orders(self, count: int) -> None:
        await until(lambda: sum(len(calls) for _, calls in self.ordered) >= count)


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    made = Process()
    yield made
    for line in list(made.port.lines):
        line.abort()
    await asyncio.sleep(0)


# -- messages ------------------------------------------------------------------------------------


class Wire:
    """What a transport is to `Frames`."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


def heard(limit: int | None = None) -> tuple[Frames, Wire, list[bytes]]:
    """A connection, what it is made of, and the messages that it brought."""
    messages: list[bytes] = []
    frames = Frames(lambda _, message: messages.append(message), lambda *_: None, limit=limit)
    wire = Wire()
    frames.connection_made(wire)  # type: ignore[arg-type]
    return frames, wire, messages


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(1, 60)))
def test_messages_arrive_whole_however_they_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    sender, wire, _ = heard()
    for message in messages:
        sender.send(message)
    receiver, _, arrived = heard()
    rest, sizes = bytes(wire.written), iter(cuts)
    while rest:
        size = next(sizes, len(rest))
        receiver.data_received(rest[:size])
        rest = rest[size:]
    assert arrived == messages


def test_a_message_above_the_limit_ends_the_connection_before_it_is_kept() -> None:
    frames, wire, messages = heard(limit=4)
    frames.data_received((4).to_bytes(8) + b"fits" + (5).to_bytes(8))
    assert wire.closed
    assert messages == [b"fits"]
    frames.send(b"nobody hears it")
    assert not wire.written


# -- who may order -------------------------------------------------------------------------------


async def test_nothing_is_unpickled_before_the_secret_was_right(process: Process) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return process.ordered.append, ((0, ["unpickled"]),)

    address = await process.remote()
    for message in (b"x" * 32, pickle.dumps(Bomb())):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(len(message).to_bytes(8) + message)
        assert await _to_the_end(reader) == b""
        writer.close()
    assert not process.ordered
    assert not process.port.lines


async def test_who_says_nothing_is_sent_away(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_port, "HELLO_S", 0.02)
    address = await process.remote()
    reader, writer = await asyncio.open_connection(address.host, address.port)
    assert await _to_the_end(reader) == b""
    writer.close()


async def _to_the_end(reader: asyncio.StreamReader) -> bytes:
    """What came until the end. A reset is as good an end as a close."""
    try:
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        return b""


def test_the_secret_is_not_shown() -> None:
    assert "hush" not in repr(PortAddress("127.0.0.1", 1, b"hush"))


# -- orders and outcomes -------------------------------------------------------------------------


async def test_orders_leave_together_and_outcomes_as_they_end(process: Process) -> None:
    client = ReplicaClient(process)
    waiting = [client.carry_out(order(call)) for call in "abc"]
    await process.has_orders(3)
    assert process.ordered == [(1, ["a", "b", "c"])]
    assert process.line is not None
    process.line.put(outcome(CallKey("r", "b", 1), "x" * 5_000_000))
    assert len((await waiting[1]).raw) == 5_000_000
    assert not waiting[0].done()
    settled = asyncio.create_task(process.port.settled())
    process.line.put(outcome(CallKey("r", "a", 1)))
    process.line.put(outcome(CallKey("r", "c", 1)))
    assert [(await each).key.call_id for each in waiting] == ["a", "b", "c"]
    await asyncio.wait_for(settled, 20)


async def test_a_lost_connection_fails_who_waits_and_the_next_order_connects_again(
    process: Process,
) -> None:
    client = ReplicaClient(process)
    waiting = client.carry_out(order("a"))
    await process.has_orders(1)
    lost = process.line
    assert lost is not None
    lost.abort()
    with pytest.raises(ConnectionError, match="was lost"):
        await waiting
    again = client.carry_out(order("a"))
    await process.has_orders(2)
    lost.put(outcome(CallKey("r", "a", 1)))  # nobody hears this one, and nothing breaks
    process.line.put(outcome(CallKey("r", "a", 1), "heard"))
    assert (await again).raw == "heard"
    await asyncio.wait_for(process.port.settled(), 20)


async def test_who_gave_up_waiting_leaves_nothing_behind(process: Process) -> None:
    client = ReplicaClient(process)
    client.carry_out(order("a")).cancel()
    await process.has_orders(1)
    assert process.line is not None
    process.line.put(outcome(CallKey("r", "a", 1)))
    later = client.carry_out(order("b"))
    await process.has_orders(2)
    process.line.put(outcome(CallKey("r", "b", 1)))
    await later
    assert not client._waiting


async def test_a_newer_epoch_sends_the_older_one_away(process: Process) -> None:
    old, new = ReplicaClient(process), ReplicaClient(process)
    waiting = old.carry_out(order("a", epoch=1))
    await process.has_orders(1)
    taken = new.carry_out(order("a", epoch=2))
    with pytest.raises(StaleEpoch, match="Epoch 2 has taken over"):
        await waiting
    with pytest.raises(StaleEpoch, match="serves epoch 2"):
        await old.carry_out(order("b", epoch=1))
    assert process.line is not None
    process.line.put(outcome(CallKey("r", "a", 1)))
    assert (await taken).key.call_id == "a"


async def test_giving_a_process_up_fails_everything(process: Process) -> None:
    client = ReplicaClient(process)
    waiting = client.carry_out(order("a"))
    await process.has_orders(1)
    client.close(ConnectionError("it did not answer 3 health checks in a row"))
    with pytest.raises(ConnectionError, match="3 health checks"):
        await waiting
    await until(lambda: not process.port.lines)


async def test_where_nobody_listens_the_error_names_the_address(process: Process) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        process.address = PortAddress("127.0.0.1", port, b"")
        with pytest.raises(ConnectionError, match=rf"127\.0\.0\.1:{port}.*reach each other's TCP"):
            await ReplicaClient(process).open()


# -- encryption ----------------------------------------------------------------------------------


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Ray's variables for TLS, with a certificate that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "familiar test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    monkeypatch.setenv("RAY_USE_TLS", "1")
    monkeypatch.setenv("RAY_TLS_SERVER_CERT", str(certificate))
    monkeypatch.setenv("RAY_TLS_SERVER_KEY", str(private))
    monkeypatch.setenv("RAY_TLS_CA_CERT", str(certificate))
    yield tmp_path
    gc.collect()  # asyncio's TLS transports report what they left open while the test is to blame


async def test_where_ray_encrypts_these_connections_are_encrypted(
    process: Process, certificates: Path
) -> None:
    client = ReplicaClient(process)
    waiting = client.carry_out(order("a"))
    await process.has_orders(1)
    assert process.line is not None
    process.line.put(outcome(CallKey("r", "a", 1), "secretly"))
    assert (await waiting).raw == "secretly"
    client.close(ConnectionError("the test is over"))

    assert process.address is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", process.address.port)
    for message in (process.address.secret, pickle.dumps([order("in the clear")])):
        writer.write(len(message).to_bytes(8) + message)
    await _to_the_end(reader)
    writer.close()
    assert process.ordered == [(1, ["a"])]


async def test_a_missing_certificate_is_named(
    process: Process, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TLS_CA_CERT")
    with pytest.raises(ConnectionError, match="RAY_TLS_CA_CERT names no file"):
        await ReplicaClient(process).open()
