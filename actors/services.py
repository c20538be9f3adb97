"""What a performer needs of the orchestrator around it, as one narrow value.

Performers of all runs share one recorder, one dispatcher, the replicas and the workbench beside the
workspace. They reach them only through these methods, so that a test can run a performer over
anything that has them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from actors.dispatcher import Dispatcher
from actors.texts import Texts
from familiar.call import CallKey, CallOrder, CallOutcome, Publication, Published
from familiar.event import Event
from familiar.plan.load import PoolLoad


class Services(Protocol):
    """The orchestrator as a performer sees it."""

    epoch: int
    dispatcher: Dispatcher
    texts: Texts
    log: logging.Logger

    def commit(self, run_id: str, events: Sequence[Event], texts: Mapping[str, str]) -> None:
        """Have events committed, in this order; they come back to the performer's `committed`.

        When they can never be written, the performer is dropped and the run ends, by what the
        database says of it."""

    def devices(self, replica: str) -> tuple[str, ...]: ...

    def load(self) -> PoolLoad:
        """How fast calls usually are and how busy each alias is, over all runs."""

    async def holder(self, key: CallKey, replica: str) -> str | None:
        """Who holds a try that an earlier orchestrator sent out to `replica`, if anybody does.

        When nobody does, it is safe to begin it there, with the same key."""

    async def carry_out(self, replica: str, order: CallOrder) -> CallOutcome: ...

    def committed_outcome(self, replica: str, key: CallKey) -> None:
        """The outcome is committed; its holder may forget it."""

    async def publish(self, publication: Publication) -> Published:
        """Publish a file, again and again until it is there. Raises `CallError` when it cannot
        be."""

    async def stop(self, replica: str, key: CallKey) -> None: ...
