"""A server that misbehaves as real ones do: one program on loopback, a scenario by name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator

# These modules enter their scenarios into the table.
from tests.actors.engines.openai import (  # noqa: F401
    proxy_scenarios,
    server_scenarios,
    stream_scenarios,
)
from tests.actors.engines.openai.scenario import SCENARIOS, Exchange

__all__ = ["AS_ASKED", "SCENARIOS", "MisbehavingServer", "served_in_a_thread"]

AS_ASKED = "as-asked"
"""The model whose scenario and story stand in the newest message, as `scenario=… story=…`."""
_ASKED = re.compile(r"scenario=(\w+) story=([\w-]+)")


class MisbehavingServer:
    """Plays the scenario that a request's model names. `url` is where it is."""

    def __init__(self) -> None:
        self.url = ""
        self._counts: dict[object, int] = {}
        self._began: dict[object, float] = {}

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[MisbehavingServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
            size = int(headers.get("content-length", 0))
            body = json.loads(await reader.readexactly(size)) if size else {}
            path = first.split(" ")[1]
            exchange = Exchange(body, path, headers, 0, 0.0, writer)
            if not body:
                await exchange.fails("404 Not Found", "")
                return
            # One story for each call: `user` tells the calls of a scenario apart.
            name, story = body["model"], body.get("user")
            if name == AS_ASKED:
                name, story = _ASKED.findall(body["messages"][-1]["content"])[-1]
            key = (name, story)
            exchange.since = self._began.setdefault(key, time.monotonic())
            self._counts[key] = exchange.nth = self._counts.get(key, 0) + 1
            await SCENARIOS[name][0](exchange)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@contextlib.contextmanager
def served_in_a_thread() -> Iterator[str]:
    """The URL of a server that runs beside the test, for a deployment in other processes."""
    loop = asyncio.new_event_loop()
    server = MisbehavingServer()
    running = server.run()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result(10)
    try:
        yield server.url
    finally:
        asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
