"""A server that misbehaves as real ones do: one program on loopback, a scenario by name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator

# Both modules enter their scenarios into the table.
from tests.actors.engines.openai import server_scenarios, stream_scenarios  # noqa: F401
from tests.actors.engines.openai.scenario import SCENARIOS, Exchange

__all__ = ["SCENARIOS", "MisbehavingServer"]


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
            name = body["model"]
            key = (name, body.get("user"))
            exchange.since = self._began.setdefault(key, time.monotonic())
            self._counts[key] = exchange.nth = self._counts.get(key, 0) + 1
            await SCENARIOS[name][0](exchange)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
