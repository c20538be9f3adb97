"""The state of a run, folded from its stream, for the live view and the plain lines.

Pure: messages in, state out. Token progress is telemetry and only decorates a running attempt.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from familiar import event as e
from familiar.event import Event
from familiar.plan.dag import dag
from serve_app.client.service import Message
from serve_app.models import StreamEnd, StreamProgress

RUNNING = "running"
WAITING = "waiting"


@dataclass(slots=True)
class CallState:
    """One call. `state` is waiting, running, succeeded, published, failed, retrying or skipped;
    `depth` counts the calls before it on the longest way from the beginning of its plan. Times are
    seconds since the Unix epoch."""

    call: str
    kind: str
    alias: str = ""
    turn: int = 0
    depends_on: tuple[str, ...] = ()
    depth: int = 0
    output_file: str | None = None
    state: str = WAITING
    attempt: int = 0
    replica: str = ""
    dispatched_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    tokens: int = 0
    tokens_per_s: float = 0.0
    note: str = ""


@dataclass(slots=True)
class TurnState:
    """One turn. `planner` is model, rules, or empty as long as there is no plan."""

    turn: int
    planner: str = ""
    rejected: int = 0
    reason: str = ""


@dataclass(slots=True)
class Board:
    """A run. Feed it every message of the stream, in order."""

    run_id: str
    session_id: str = ""
    wanted: tuple[str, ...] = ()
    workspace: str = ""
    submitted_at: float | None = None
    ended_at: float | None = None
    seq: int = 0
    turns: dict[int, TurnState] = field(default_factory=dict)
    calls: dict[str, CallState] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    spent_tokens: int = 0
    cancelling: bool = False
    end: StreamEnd | None = None

    def apply(self, message: Message) -> None:
        if isinstance(message, StreamEnd):
            self.end = message
        elif isinstance(message, StreamProgress):
            self._progress(message)
        else:
            self.seq = message.seq
            self._event(message)

    @property
    def tokens(self) -> int:
        """Output tokens so far, those of running attempts included."""
        return self.spent_tokens + sum(c.tokens for c in self.calls.values() if c.state == RUNNING)

    def running(self) -> list[CallState]:
        return [call for call in self.calls.values() if call.state == RUNNING]

    def by_replica(self) -> dict[str, list[CallState]]:
        replicas: dict[str, list[CallState]] = {
            call.replica: [] for call in self.calls.values() if call.replica
        }
        for call in self.running():
            replicas[call.replica].append(call)
        return dict(sorted(replicas.items()))

    def _progress(self, message: StreamProgress) -> None:
        for seen in message.calls:
            call = self.calls.get(seen.call)
            if call is not None and call.state == RUNNING and call.attempt == seen.attempt:
                call.tokens, call.tokens_per_s = seen.tokens, seen.tokens_per_s

    def _event(self, event: Event) -> None:
        match event.body:
            case e.RunSubmitted() as b:
                self.session_id, self.wanted = b.session_id, b.files
                self.workspace, self.submitted_at = b.workspace, event.at
            case e.RunCancelRequested():
                self.cancelling = True
            case e.RunEnded():
                self.ended_at = event.at
            case e.TurnStarted() as b:
                self._turn(b.turn)
            case e.PlanRejected() as b:
                self._turn(b.turn).rejected += 1
            case e.PlannerChosen() as b:
                self._turn(b.turn).reason = "; ".join(b.reasons)
            case e.PlanAccepted() as b:
                turn = self._turn(b.turn)
                turn.planner, turn.reason = b.planner, b.reason or turn.reason
                depths = dag(b.calls).depths()
                for planned in b.calls:
                    self.calls[planned.id] = CallState(
                        planned.id,
                        "worker",
                        planned.alias,
                        b.turn,
                        planned.depends_on,
                        depths[planned.id],
                        planned.output_file,
                    )
            case e.CallDispatched() as b:
                call = self._call(b.call, b.kind)
                call.alias, call.turn, call.replica = b.alias, b.turn, b.replica
                call.state, call.attempt = RUNNING, b.attempt
                call.dispatched_at, call.ended_at = event.at, None
                call.tokens, call.tokens_per_s, call.note = 0, 0.0, ""
            case e.CallAdopted() as b:
                self._call(b.call, "worker").note = f"adopted from {b.holder}"
            case e.CallSucceeded() as b:
                call = self._call(b.call, b.kind)
                call.state, call.tokens = "succeeded", b.usage.output_tokens
                call.started_at, call.ended_at = b.timing.started_at, b.timing.ended_at
                self.spent_tokens += b.usage.output_tokens
                call.note = ", ".join(b.repairs)
            case e.CallFailed() as b:
                call = self._call(b.call, b.kind)
                call.state, call.ended_at = "failed", event.at
                call.tokens = b.usage.output_tokens
                self.spent_tokens += b.usage.output_tokens
                call.note = f"{b.failure.failure_class}: {b.failure.message}"
            case e.CallSkipped() as b:
                call = self._call(b.call, "worker")
                call.state, call.note = "skipped", f"{', '.join(b.because)} failed"
            case e.RecoveryChosen() as b:
                if b.action not in ("give_up", "split"):
                    self._call(b.call, "worker").state = "retrying"
            case e.FilePublished() as b:
                self._call(b.call, "worker").state = "published"
                self.files[b.path] = b.size

    def _turn(self, number: int) -> TurnState:
        return self.turns.setdefault(number, TurnState(number))

    def _call(self, name: str, kind: str) -> CallState:
        return self.calls.setdefault(name, CallState(name, kind))
