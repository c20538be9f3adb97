"""The orchestrator's hold on its database: the epoch that it writes under, and its lease.

A lease that is renewed all the time shows an outage, or a database that was replaced, also while no
run writes anything. `problem` has the reason until a renewal succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from actors.private_file import make_private_folder, open_private
from actors.store.lease import OwnedElsewhere
from actors.store.store import Store
from familiar.config.schema import Config
from familiar.errors import StaleEpoch, StoreError

LEASE_S = 12.0
"""How long the database stays ours without a renewal."""

log = logging.getLogger("familiar.orchestrator")


class Ownership:
    """Of one store, by this process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.problem: StoreError | None = None

    async def take(self, *, predecessor_gone: bool, waiting: Callable[[str], None]) -> int:
        """Become the owner; the epoch. While another process owns the database, and nothing proves
        that it is gone, wait until its lease has run out, and tell `waiting` the reason. Raises
        `OwnedElsewhere` when that owner lives."""
        gone = predecessor_gone
        deadline = time.monotonic() + 2 * LEASE_S
        while True:
            take = partial(self.store.take_epoch, lease_s=LEASE_S, predecessor_gone=gone)
            try:
                return await asyncio.to_thread(take)
            except OwnedElsewhere as error:
                waiting(str(error))
                # A SQLite file has its owner on this machine, so a pid that is free is proof.
                local = self.store.address.path is not None and error.host == socket.gethostname()
                if local and not psutil.pid_exists(error.pid):
                    gone = True
                    continue
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(1.0)

    async def keep(self) -> None:
        """Renew the lease for ever. Raises `StaleEpoch` when another owner took the epoch."""
        while True:
            await asyncio.sleep(LEASE_S / 3)
            try:
                await asyncio.to_thread(self.store.renew, LEASE_S)
                self.problem = None
            except StaleEpoch:
                raise
            except StoreError as error:
                log.warning("the lease of the database was not renewed: %s", error)
                self.problem = error

    async def release(self) -> None:
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(self.store.release)


def open_store(config: Config) -> Store:
    """Open the deployment's database; a first start creates it and notes its id beside the
    workspaces.

    Raises `StoreError` when the database that was noted is gone or is another one: going on with an
    empty one would silently forget every run.
    """
    note = log_path(config).with_name("store.id")
    expected = note.read_text().strip() if note.exists() else None
    store = Store.open(config.store.url, create=expected is None, expected_id=expected)
    if expected is None:
        with open(note, "w", opener=open_private) as file:
            file.write(store.store_id + "\n")
    return store


def log_path(config: Config) -> Path:
    """`orchestra.log` stands beside the workspaces."""
    root = Path(config.workspace.root).expanduser()
    with contextlib.suppress(OSError):
        make_private_folder(root)
    return root / "orchestra.log"
