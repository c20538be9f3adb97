"""The orchestrator around a performer, as one narrow value.

Performers of all runs share one recorder, one dispatcher, the replicas and the workspace process.
They reach them only through these methods, so that a test can run a performer over anything that
has them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from actors.orchestrator.dispatcher import Dispatcher
from actors.orchestrator.texts import Texts
from familiar.call import CallKey, CallOrder, CallOutcome, Publication, Published
from familiar.event import Draft, Event
from familiar.plan.view import PoolLoad


class Services(Protocol):
    """The orchestrator as a performer sees it."""

    epoch: int
    dispatcher: Dispatcher
    texts: Texts
    log: logging.Logger

    async def record(self, drafts: Sequence[Draft]) -> Sequence[Event]:
        """Commit drafts of one run, in this order. Raises `StoreError` when they can never be
        written; it does not return when a newer orchestrator has taken over."""

    def recorded(self, event: Event) -> None:
        """The performer has folded this committed event."""

    def devices(self, replica: str) -> tuple[str, ...]: ...

    def load(self) -> PoolLoad:
        """How fast calls usually are and how busy each alias is, over all runs."""

    async def holder(self, key: CallKey, replica: str) -> str | None:
        """The replica that holds an attempt which an earlier orchestrator sent to `replica`.

        When there is none, it is safe to begin the attempt there, with the same key."""

    async def attempt(self, replica: str, order: CallOrder) -> CallOutcome: ...

    def committed_outcome(self, replica: str, key: CallKey) -> None:
        """The outcome is committed; its holder may forget it."""

    async def unwritable(self, root: str, paths: Sequence[str]) -> Mapping[str, str]:
        """Have a session's workspace made; the reasons against writing these paths, by path.
        Raises `CallError` when the workspace takes no file at all."""

    async def publish(self, publication: Publication) -> Published:
        """Publish a file, again and again until it is there. Raises `CallError` when it cannot
        be."""

    async def stop(self, replica: str, key: CallKey) -> None: ...
