"""The stream of events: whole, in order, resumable at any cut, and explicit about its end."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from familiar.config.schema import Config
from familiar.errors import ClusterError, DeploymentEnded
from familiar.service import CallProgress
from serve_app.sse import follow
from tests.serve_app.api import bakery
from tests.serve_app.api.conftest import QUICK
from tests.serve_app.api.local_backend import LocalBackend
from tests.serve_app.api.messages import Message, messages, parse, seqs
from tests.serve_app.api.server import serve_on_loopback


async def submit(http: httpx.AsyncClient) -> str:
    return str((await http.post("/v1/runs", json={"goal": bakery.GOAL})).json()["run_id"])


@asynccontextmanager
async def finished(http: httpx.AsyncClient, backend: LocalBackend) -> AsyncIterator[str]:
    run_id = await submit(http)
    await bakery.bake(backend, run_id)
    yield f"/v1/runs/{run_id}/events"


async def test_a_finished_run_is_told_whole_and_ends(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    async with finished(http, backend) as path:
        response = await http.get(path)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    messages = parse(response.text)
    assert seqs(messages) == list(range(1, bakery.LAST_SEQ + 1))
    assert [m.data["seq"] for m in messages[:-1]] == seqs(messages)
    assert [m.data["type"] for m in messages[1:-1]] == [body.type for body in bakery.BODIES]
    end = messages[-1]
    assert (end.event, end.id) == ("end", None)
    assert end.data["outcome"] == "succeeded"
    assert end.data["seq"] == bakery.LAST_SEQ


async def test_whatever_is_cut_a_resume_leaves_no_gap_and_no_double(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    """Cut after every single byte of the stream's interesting places: each message's start, inside
    and end; then resume from the last id that arrived whole."""
    async with finished(http, backend) as path:
        whole = (await http.get(path)).text
        ends = [i for i in range(len(whole)) if whole.startswith("\n\n", i)]
        near = {max(0, end + d) for end in ends for d in (-1, 0, 1, 2, 3)}
        inside = set(random.Random(7).sample(range(len(whole)), 20))
        for cut in sorted(near | inside | {0, len(whole)}):
            before = parse(whole[:cut])
            last = seqs(before)[-1] if seqs(before) else 0
            resumed = await http.get(path, headers={"Last-Event-ID": str(last)} if last else {})
            after = parse(resumed.text)
            assert seqs(before) + seqs(after) == list(range(1, bakery.LAST_SEQ + 1)), cut
            assert after[-1].event == "end"


async def test_a_browser_s_last_id_comes_before_the_query(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    async with finished(http, backend) as path:
        by_query = await http.get(path, params={"after": 5})
        by_header = await http.get(path, params={"after": 5}, headers={"Last-Event-ID": "9"})
    assert seqs(parse(by_query.text))[0] == 6
    assert seqs(parse(by_header.text))[0] == 10


async def test_a_resume_at_the_very_end_says_that_it_is_the_end(
    http: httpx.AsyncClient, backend: LocalBackend
) -> None:
    async with finished(http, backend) as path:
        response = await http.get(path, params={"after": bakery.LAST_SEQ})
    (only,) = parse(response.text)
    assert (only.event, only.data["outcome"]) == ("end", "succeeded")


@pytest.mark.parametrize("position", [bakery.LAST_SEQ + 1, 10**12, -1])
async def test_a_position_that_cannot_be_is_rejected(
    http: httpx.AsyncClient, backend: LocalBackend, position: int
) -> None:
    async with finished(http, backend) as path:
        query = await http.get(path, params={"after": position})
        header = await http.get(path, headers={"Last-Event-ID": str(position)})
    assert (query.status_code, header.status_code) == (422, 422)
    assert query.json()["field"] == "query.after"
    assert header.json()["field"] == "header.Last-Event-ID"


class TestLive:
    """While the run goes on, over a real server."""

    async def test_events_arrive_as_they_are_committed(
        self, config: Config, backend: LocalBackend
    ) -> None:
        async with serve_on_loopback(config, backend) as http:
            run_id = await submit(http)
            told: list[Message] = []
            async with http.stream("GET", f"/v1/runs/{run_id}/events") as response:
                text = ""
                chunks = response.aiter_text()
                for upto in range(len(bakery.BODIES)):
                    while len(seqs(told)) < upto + 1:
                        text += await anext(chunks)
                        told = parse(text)
                    assert seqs(told) == list(range(1, upto + 2))
                    await backend.record(
                        run_id,
                        bakery.BODIES[upto],
                        texts=bakery.TEXTS,
                    )
                async for chunk in chunks:
                    text += chunk
            messages = parse(text)
            assert seqs(messages) == list(range(1, bakery.LAST_SEQ + 1))
            assert messages[-1].event == "end"

    async def test_a_client_that_is_cut_again_and_again_sees_each_event_once(
        self, config: Config, backend: LocalBackend
    ) -> None:
        async with serve_on_loopback(config, backend) as http:
            run_id = await submit(http)
            recording = asyncio.create_task(self._record_slowly(backend, run_id))
            seen: list[int] = []
            ended = False
            while not ended:
                headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
                path = f"/v1/runs/{run_id}/events"
                async with http.stream("GET", path, headers=headers) as response:
                    text = ""
                    async for chunk in response.aiter_text():
                        text += chunk
                        if len(seqs(parse(text))) >= 2:
                            break
                seen += seqs(parse(text))
                ended = any(message.event == "end" for message in parse(text))
            await recording
            assert seen == list(range(1, bakery.LAST_SEQ + 1))

    async def _record_slowly(self, backend: LocalBackend, run_id: str) -> None:
        for body in bakery.BODIES:
            await backend.record(run_id, body, texts=(bakery.PROMPT,))
            await asyncio.sleep(0.01)

    async def test_a_client_that_goes_away_is_waited_for_no_longer(
        self, config: Config, backend: LocalBackend
    ) -> None:
        async with serve_on_loopback(config, backend) as http:
            run_id = await submit(http)
            async with http.stream("GET", f"/v1/runs/{run_id}/events") as response:
                await anext(response.aiter_text())
                await backend.polled.wait()
            async with asyncio.timeout(60):
                await backend.unpolled.wait()


class TestWaiting:
    """Between two events, on the generator itself."""

    async def test_a_stream_that_waits_does_not_ask_again_and_again(
        self, http: httpx.AsyncClient, backend: LocalBackend
    ) -> None:
        run_id = await submit(http)
        stream = messages(follow(backend, run_id, 0, progress=False, pace=QUICK))
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.5)
        assert backend.polls == 1
        await backend.record(run_id, bakery.BODIES[0])
        assert (await waiting).id == "2"
        await asyncio.sleep(0.2)
        assert backend.polls == 2

    async def test_progress_is_told_when_it_moves_and_without_an_id(
        self, http: httpx.AsyncClient, backend: LocalBackend
    ) -> None:
        run_id = await submit(http)
        backend.running = (CallProgress("page-index", 1, "naughty", "smol:0", 57, 18.7),)
        stream = messages(follow(backend, run_id, 1, pace=QUICK))
        first = await anext(stream)
        assert (first.event, first.id) == ("progress", None)
        assert first.data["calls"][0]["tokens"] == 57
        second = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(5 * QUICK.progress_s)
        assert not second.done()
        backend.running = ()
        assert (await second).data == {"calls": []}

    async def test_an_orchestrator_that_is_away_delays_and_does_not_end_the_stream(
        self, http: httpx.AsyncClient, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = await submit(http)
        here = backend.wait_beyond
        away = 3

        async def sometimes(run: str, seq: int, timeout_s: float) -> int:
            nonlocal away
            if away:
                away -= 1
                raise ClusterError("It went away.")
            return await here(run, seq, timeout_s)

        monkeypatch.setattr(backend, "wait_beyond", sometimes)
        stream = messages(follow(backend, run_id, 0, pace=QUICK))
        told = [await anext(stream)]
        recording = asyncio.create_task(bakery.bake(backend, run_id))
        told += [message async for message in stream]
        await recording
        assert [m.id for m in told if m.id] == [str(n) for n in range(1, bakery.LAST_SEQ + 1)]

    async def test_a_closed_stream_leaves_no_poll_behind(
        self, http: httpx.AsyncClient, backend: LocalBackend
    ) -> None:
        run_id = await submit(http)
        stream = follow(backend, run_id, 1, pace=QUICK)
        waiting = asyncio.ensure_future(anext(stream))
        await backend.polled.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(60):
            await backend.unpolled.wait()

    async def test_a_deployment_that_has_ended_is_told_and_ends_the_stream(
        self, http: httpx.AsyncClient, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = await submit(http)

        async def taken_down(*_: object) -> int:
            raise DeploymentEnded("There is no orchestrator.")

        monkeypatch.setattr(backend, "wait_beyond", taken_down)
        quick = dataclasses.replace(QUICK, gone_s=0.2)
        stream = messages(follow(backend, run_id, 0, pace=quick))
        told = [message async for message in stream]
        assert [message.event for message in told] == ["message", "error"]
        problem = told[-1].data
        assert run_id in problem["detail"]
        assert "started again" in problem["remedy"]

    async def test_an_orchestrator_that_is_replaced_in_time_ends_no_stream(
        self, http: httpx.AsyncClient, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = await submit(http)
        here, left = backend.wait_beyond, [3]

        async def replaced(run: str, seq: int, timeout_s: float) -> int:
            if left[0]:
                left[0] -= 1
                raise DeploymentEnded("There is no orchestrator.")
            return await here(run, seq, timeout_s)

        monkeypatch.setattr(backend, "wait_beyond", replaced)
        stream = messages(follow(backend, run_id, 0, pace=QUICK))
        told = [await anext(stream)]
        recording = asyncio.create_task(bakery.bake(backend, run_id))
        told += [message async for message in stream]
        await recording
        assert told[-1].event == "end"
