"""One run's inputs on their way into its history: commit, then fold, then perform.

Inputs stand in a queue. One commit of the run is in flight at a time, and the next takes all inputs
that came in meanwhile. A decision is computed from committed state only. One that its state has
overtaken (the run has ended, the attempt was given up) is dropped before it is written; a fact,
such as the outcome of an attempt, is always written while the run is open.

An event that the state cannot take ends this run alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actors.tasks import Tasks
from familiar import event as ev
from familiar.errors import FailureClass, FamiliarError
from familiar.run.command import Command
from familiar.run.machine import RunMachine
from familiar.run.transition import Fact

if TYPE_CHECKING:
    from actors.orchestrator.performer import Performer

_CLOSING = (ev.RunCancelRequested, ev.BudgetReached, ev.RunEnded)
"""After these the state decides anew, so nothing is written in one commit behind them."""

Record = Callable[[Sequence[ev.Draft]], Awaitable[Sequence[ev.Event]]]


@dataclass(frozen=True, slots=True)
class Input:
    """Events to commit together. `answers` is the command that they answer: when it is not due any
    more, they are dropped. Without one they are facts, or come from outside. `written` is done when
    they are committed and folded, or dropped."""

    bodies: Sequence[ev.Body]
    texts: Mapping[str, str] = field(default_factory=dict)
    answers: Command | None = None
    written: asyncio.Future[None] | None = None


class Journal:
    def __init__(
        self, machine: RunMachine, owner: Performer, record: Record, log: logging.Logger
    ) -> None:
        self._machine = machine
        self._owner = owner
        self._record = record
        self._log = log
        self._inputs: deque[Input] = deque()
        self._tasks = Tasks()
        self._driving = False
        self._broken = False

    @property
    def idle(self) -> bool:
        """Nothing waits to be committed, and no commit is in flight."""
        return not self._driving and not self._inputs

    def take(self, wanted: Input) -> None:
        """Commit `wanted` when it is its turn."""
        self._inputs.append(wanted)
        if not self._driving:
            self._driving = True
            self._tasks.spawn(self._drive())

    async def _drive(self) -> None:
        try:
            while self._inputs:
                batch = self._next_batch()
                if batch:
                    await self._commit(batch)
        finally:
            self._driving = False

    def _next_batch(self) -> list[Input]:
        """The inputs that are still valid, up to one after which the state decides anew."""
        batch: list[Input] = []
        while self._inputs:
            wanted = self._inputs.popleft()
            if not self._is_valid(wanted):
                _tell(wanted)
                for body in wanted.bodies:
                    self._owner.dropped(body)
                continue
            batch.append(wanted)
            if any(isinstance(body, _CLOSING) for body in wanted.bodies):
                break
        return batch

    def _is_valid(self, wanted: Input) -> bool:
        state, first = self._machine.state, wanted.bodies[0]
        if state.ended is not None:
            return False
        if self._broken:
            return isinstance(first, ev.RunEnded)
        if wanted.answers is not None and wanted.answers.due not in state.due:
            return False
        return isinstance(first, Fact) or self._machine.takes(first)

    async def _commit(self, batch: list[Input]) -> None:
        at, run_id = time.time(), self._machine.state.run_id
        drafts = [
            ev.Draft(run_id, body, at, dict(wanted.texts) if first == 0 else {})
            for wanted in batch
            for first, body in enumerate(wanted.bodies)
        ]
        try:
            events = await self._record(drafts)
        except FamiliarError as error:
            self._reject(batch, error)
            return
        for event in events:
            self._fold(event)
        for wanted in batch:
            _tell(wanted)

    def _reject(self, batch: list[Input], error: FamiliarError) -> None:
        """The batch can never be written: its owners hear of it, or the run ends with this."""
        waiting = [wanted.written for wanted in batch if wanted.written is not None]
        for written in waiting:
            if not written.done():
                written.set_exception(error)
        if waiting or any(isinstance(b, ev.RunEnded) for w in batch for b in w.bodies):
            return
        self._end(f"an event was not recorded: {error}")

    def _fold(self, event: ev.Event) -> None:
        commands: Sequence[Command] = ()
        try:
            if not self._broken:
                commands = self._machine.apply(event)
        except Exception as error:
            self._broken = True
            self._end(f"event {event.seq} does not fit the run's state: {error}")
        self._owner.folded(event, commands)

    def _end(self, reason: str) -> None:
        self._log.error("run %s ends: %s", self._machine.state.run_id, reason, exc_info=True)
        self._inputs.clear()
        failed = ev.RunEnded(outcome="failed", reason=reason, failure_class=FailureClass.INTERNAL)
        self.take(Input([failed]))


def _tell(wanted: Input) -> None:
    if wanted.written is not None and not wanted.written.done():
        wanted.written.set_result(None)
