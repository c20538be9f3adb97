"""The orchestrator's hold of its database: take it, keep it, and notice that it is lost.

The owner in the database is an actor, by Ray's id, which a restarted actor keeps. So a restart by
Ray needs no proof: the owner is this actor still, unless another one took the database meanwhile.
Any other owner keeps the database until its lease has run out, or until there is proof of its
end: it is the predecessor that Ray ended for this actor, or its process on this machine is gone.

A lease that is renewed all the time shows an outage, or a database that was replaced, also while no
run writes anything. `problem` has the reason until a renewal succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
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
PAUSE_S = 1.0

log = logging.getLogger("familiar.orchestrator")


class Ownership:
    """`predecessor` is the actor's id of the orchestrator that Ray ended before this one, or ""."""

    def __init__(self, actor_id: str, predecessor: str) -> None:
        self._actor_id = actor_id
        self._predecessor = predecessor
        self._store: Store | None = None
        self.problem: StoreError | None = None
        self.other: OwnedElsewhere | None = None
        """The owner that is waited for."""
        self.fenced = False
        """That owner renewed its lease for longer than a crashed one's lease lasts, so it lives."""

    async def take(self, store: Store) -> int:
        """Wait until the database is free, and take the next epoch. Raises `StoreError`."""
        self._store, store.owner_id = store, self._actor_id
        gone = self._predecessor
        deadline = time.monotonic() + 2 * LEASE_S
        while True:
            try:
                epoch = await asyncio.to_thread(
                    partial(store.take_epoch, lease_s=LEASE_S, gone=gone)
                )
            except OwnedElsewhere as error:
                if self.other is None:
                    log.warning("%s", error)
                self.other = error
                # A SQLite file has its owner on this machine, so a pid that is free is proof.
                local = store.address.path is not None and error.host == socket.gethostname()
                if local and gone != error.owner_id and not psutil.pid_exists(error.pid):
                    gone = error.owner_id
                    continue
                self.fenced = time.monotonic() > deadline
                await asyncio.sleep(PAUSE_S)
            else:
                self.other, self.fenced = None, False
                return epoch

    async def keep(self) -> None:
        """Renew the lease all the time. Raises `StaleEpoch` when another owner took the epoch."""
        assert self._store is not None
        while True:
            await asyncio.sleep(LEASE_S / 3)
            try:
                await asyncio.to_thread(self._store.renew, LEASE_S)
                self.problem = None
            except StaleEpoch:
                raise
            except StoreError as error:
                log.warning("the lease of the database was not renewed: %s", error)
                self.problem = error

    async def release(self) -> None:
        """End the lease, so that the next owner need not wait."""
        assert self._store is not None
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(self._store.release)


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
