"""Many followers of the stream of events at once: one reads for all, and none holds up another."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import Any

import httpx
import pytest

from actors.store.queries import Reader
from familiar.config.schema import Config
from serve_app import history
from serve_app.remote import RemoteBackend
from serve_app.sse import Crowd, Pace, follow
from tests.serve_app.api import bakery
from tests.serve_app.api.conftest import QUICK
from tests.serve_app.api.local_backend import LocalBackend
from tests.serve_app.api.messages import messages, parse, seqs
from tests.serve_app.api.server import serve_on_loopback


async def submit(http: httpx.AsyncClient) -> str:
    return str((await http.post("/v1/runs", json={"goal": bakery.GOAL})).json()["run_id"])


async def test_a_run_is_read_once_for_all_who_follow_it(
    http: httpx.AsyncClient, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await submit(http)
    reads = 0
    read = backend.read

    async def counted(query: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal reads
        reads += query is Reader.events
        return await read(query, *args, **kwargs)

    monkeypatch.setattr(backend, "read", counted)
    crowd = Crowd()

    async def seen(after: int) -> list[str | None]:
        pieces = follow(backend, run_id, after, progress=False, pace=QUICK, crowd=crowd)
        stream = messages(pieces)
        return [message.id for message in [message async for message in stream]]

    following = [asyncio.ensure_future(seen(0)) for _ in range(100)]
    await backend.polled.wait()
    await bakery.bake(backend, run_id)
    whole = [str(n) for n in range(1, bakery.LAST_SEQ + 1)]
    assert await asyncio.gather(*following) == [[*whole, None]] * 100
    assert reads <= 2 * bakery.LAST_SEQ
    assert crowd.feeds == {}


async def test_a_follower_from_before_the_feed_has_no_gap(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    run_id = await submit(http)
    await bakery.bake(backend, run_id, 6)
    crowd = Crowd()
    late = messages(follow(backend, run_id, 5, progress=False, pace=QUICK, crowd=crowd))
    first = await anext(late)
    assert first.id == "6"
    early = messages(follow(backend, run_id, 0, progress=False, pace=QUICK, crowd=crowd))
    told = [await anext(early) for _ in range(7)]
    await backend.record(run_id, *bakery.BODIES[6:], texts=bakery.TEXTS)
    told += [message async for message in early]
    assert [message.id for message in told[:-1]] == [str(n) for n in range(1, bakery.LAST_SEQ + 1)]
    assert [message.id async for message in late][-2:] == [str(bakery.LAST_SEQ), None]


async def test_a_follower_that_falls_behind_reads_for_itself(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    run_id = await submit(http)
    few = dataclasses.replace(QUICK, kept=2)
    crowd = Crowd()
    slow = messages(follow(backend, run_id, 0, progress=False, pace=few, crowd=crowd))
    first = await anext(slow)
    await bakery.bake(backend, run_id)
    async with asyncio.timeout(30):
        while crowd.feeds[run_id].seq < bakery.LAST_SEQ:
            await crowd.feeds[run_id].news()
    rest = [message.id async for message in slow]
    assert [first.id, *rest[:-1]] == [str(n) for n in range(1, bakery.LAST_SEQ + 1)]


async def test_all_that_is_new_comes_in_one_piece(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    run_id = await submit(http)
    await bakery.bake(backend, run_id)
    pace = dataclasses.replace(QUICK, page=100)
    pieces = [piece async for piece in follow(backend, run_id, 0, progress=False, pace=pace)]
    whole, end = (parse(piece.decode()) for piece in pieces)
    assert seqs(whole) == list(range(1, bakery.LAST_SEQ + 1))
    assert [message.event for message in end] == ["end"]


async def test_a_run_that_is_followed_is_not_asked_for_again(
    config: Config, http: httpx.AsyncClient, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await submit(http)
    asked = 0
    last_seq = history.last_seq

    def counted(reader: Reader, name: str) -> Any:
        nonlocal asked
        asked += 1
        return last_seq(reader, name)

    monkeypatch.setattr(history, "last_seq", counted)
    async with serve_on_loopback(config, backend) as http:

        async def followed() -> list[int]:
            return seqs(parse((await http.get(f"/v1/runs/{run_id}/events")).text))

        first = asyncio.ensure_future(followed())
        await backend.polled.wait()
        following = [first, *(asyncio.ensure_future(followed()) for _ in range(20))]
        ahead = await http.get(f"/v1/runs/{run_id}/events", params={"after": bakery.LAST_SEQ})
        await bakery.bake(backend, run_id)
        assert await asyncio.gather(*following) == [list(range(1, bakery.LAST_SEQ + 1))] * 21
    assert ahead.status_code == 422
    assert asked == 2


async def test_a_stream_without_news_tells_that_it_is_alive(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    run_id = await submit(http)
    pace = dataclasses.replace(QUICK, beat_s=0.1)
    stream = follow(backend, run_id, 0, progress=False, pace=pace)
    first = await anext(stream)
    beats = [await anext(stream) for _ in range(2)]
    await bakery.bake(backend, run_id)
    rest = first + b"".join([piece async for piece in stream])
    assert all(beat.startswith(b":") and beat.endswith(b"\n\n") for beat in beats)
    assert seqs(parse(rest.decode())) == list(range(1, bakery.LAST_SEQ + 1))


def test_the_more_there_are_the_less_often_each_asks() -> None:
    pace = Pace()
    alone, many = Crowd(1), Crowd(600, {str(n): object() for n in range(600)})  # type: ignore[misc]
    assert (alone.progress_s(pace), alone.linger_s()) == (pace.progress_s, 0.0)
    assert 600 / many.progress_s(pace) <= 100
    few_runs = Crowd(600, {"one": object()})  # type: ignore[dict-item]
    assert 600 / few_runs.progress_s(pace) <= 200
    assert 0 < many.linger_s() <= 0.5


async def test_a_stream_counts_until_it_is_closed(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    run_id = await submit(http)
    crowd = Crowd()
    stream = follow(backend, run_id, 0, pace=QUICK, crowd=crowd)
    await anext(stream)
    assert crowd.followers == 1
    await stream.aclose()  # type: ignore[attr-defined]
    assert crowd.followers == 0


@pytest.mark.parametrize("place", [(Reader, "events"), (history, "last_seq")])
async def test_followers_never_hold_up_another_request(
    config: Config,
    backend: LocalBackend,
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[Any, str],
) -> None:
    """Neither those that read on nor those that begin."""
    free = threading.Event()

    def slow(*_: object) -> list[object]:
        free.wait(30)
        return []

    monkeypatch.setattr(*place, slow)
    remote = RemoteBackend("nowhere", config.store.url)
    following = [asyncio.ensure_future(remote.read(slow, "r", 0, 1)) for _ in range(600)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(5):
            assert await remote.read(Reader.list_runs, 1, None, None) == []
    finally:
        free.set()
        await asyncio.gather(*following)
