"""The API behind a real HTTP server on loopback, in this event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn

from familiar.config.schema import Config
from serve_app.api import create_api
from serve_app.backend import Backend
from tests.serve_app.api.conftest import QUICK


@asynccontextmanager
async def serve_on_loopback(config: Config, backend: Backend) -> AsyncIterator[httpx.AsyncClient]:
    app = create_api(config, backend, digests=None, pace=QUICK)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # The socket listens already, so a request before the server runs waits in its backlog.
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        )
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
                yield http
        finally:
            server.should_exit = True
            await running
