"""A TCP proxy that goes wrong in the ways of a network: it trickles what a server sends.

A process of its own: `python -m tests.faults.proxy PORT SERVER_PORT MARK BYTES_PER_S`. Connections
whose request has MARK in it are trickled; all others are passed on as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

CHUNK = 4096
TRICKLE = 256
"""About one token's event at a time, as a narrow line would deliver them."""


async def serve(port: int, server_port: int, mark: bytes, bytes_per_s: float) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, up = await asyncio.open_connection("127.0.0.1", server_port)
        slow = False

        async def forward() -> None:
            nonlocal slow
            while data := await reader.read(CHUNK):
                slow = slow or mark in data
                up.write(data)
                await up.drain()
            up.close()

        async def back() -> None:
            while data := await upstream.read(TRICKLE if slow else CHUNK):
                writer.write(data)
                await writer.drain()
                if slow:
                    await asyncio.sleep(len(data) / bytes_per_s)
            writer.close()

        with contextlib.suppress(OSError):
            await asyncio.gather(forward(), back())

    server = await asyncio.start_server(handle, "127.0.0.1", port, limit=CHUNK)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    _, own, behind, marked, rate = sys.argv
    asyncio.run(serve(int(own), int(behind), marked.encode(), float(rate)))
