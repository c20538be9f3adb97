"""A run's history arranged for questions: one pass over the events, then lookups.

Everything is kept with the number of the event that said it, so that whatever is concluded can be
traced. The pass is linear; lookups over a replica's or a pool's other attempts bisect sorted lists.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from familiar import event as ev
from familiar.call import Failure
from familiar.errors import FailureClass

MIN_TOKENS_FOR_RATE = 8
"""A shorter answer says little about a rate."""
MOST_WITNESSES = 5
"""Other attempts that count for one failed attempt; the bound keeps an explanation linear."""
MOST_FAILURES = 20
"""Failures of one replica that are looked at for its outages."""


@dataclass(slots=True, eq=False, repr=False)
class Attempt:
    """An attempt of a call, from its dispatch to its end. `*_seq` are event numbers, 0 for none."""

    call: str
    attempt: int
    dispatched: ev.CallDispatched | None = None
    dispatched_seq: int = 0
    dispatched_at: float = 0.0
    ended: ev.CallSucceeded | ev.CallFailed | None = None
    ended_seq: int = 0
    ended_at: float = 0.0
    recovery: ev.RecoveryChosen | None = None
    recovery_seq: int = 0
    planned: ev.PlannedCall | None = None

    @property
    def name(self) -> str:
        return f"{self.call}/{self.attempt}"

    @property
    def alias(self) -> str | None:
        if self.dispatched is not None:
            return self.dispatched.alias
        return None if self.planned is None else self.planned.alias

    @property
    def pool(self) -> str | None:
        if self.dispatched is not None:
            return self.dispatched.pool
        found = self.evidence("pool")
        return found if isinstance(found, str) else None

    @property
    def replica(self) -> str | None:
        return None if self.dispatched is None else self.dispatched.replica

    @property
    def failure(self) -> Failure | None:
        return self.ended.failure if isinstance(self.ended, ev.CallFailed) else None

    def failed_as(self, failure_class: FailureClass) -> bool:
        return self.failure is not None and self.failure.failure_class is failure_class

    @property
    def succeeded(self) -> bool:
        return isinstance(self.ended, ev.CallSucceeded)

    @property
    def queue_s(self) -> float | None:
        """Seconds from ready to the dispatch."""
        if self.dispatched is None:
            return None
        return max(self.dispatched_at - self.dispatched.queued_at, 0.0)

    @property
    def tokens(self) -> int:
        counted = self.number("tokens")
        used = 0 if self.ended is None else self.ended.usage.output_tokens
        return used if counted is None else max(int(counted), used)

    @property
    def seconds(self) -> float:
        """From the start on the replica to the end; 0.0 when it never started."""
        found = self.number("seconds")
        if found is not None:
            return found
        timing = None if self.ended is None else self.ended.timing
        return 0.0 if timing is None else max(timing.ended_at - timing.started_at, 0.0)

    @property
    def first_token_s(self) -> float | None:
        timing = None if self.ended is None else self.ended.timing
        if timing is None or timing.first_token_at is None:
            return self.number("first_token_s")
        return max(timing.first_token_at - timing.started_at, 0.0)

    @property
    def rate(self) -> float | None:
        """Tokens/s after the first token; None for an answer that is too short to say."""
        found = self.number("tokens_per_s")
        if found is not None:
            return found if self.tokens >= 2 else None
        timing = None if self.ended is None else self.ended.timing
        if timing is None or timing.first_token_at is None or self.tokens < MIN_TOKENS_FOR_RATE:
            return None
        span = timing.ended_at - timing.first_token_at
        return (self.tokens - 1) / span if span > 0 else None

    @property
    def at_deadline(self) -> bool:
        """Whether a deadline ended it, by its own account or by the time that it took; not one
        that struck while the engine waited for its server (`transient`)."""
        if self.evidence("transient") is True:
            return False
        limit = self.number("deadline_s")
        return bool(self.text("deadline")) or (limit is not None and self.seconds >= 0.98 * limit)

    def evidence(self, name: str) -> object:
        """The value of `name` in the failure's record; None where there is none."""
        return None if self.failure is None else self.failure.evidence.get(name)

    def number(self, name: str) -> float | None:
        found = self.evidence(name)
        return (
            float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
        )

    def text(self, name: str) -> str:
        found = self.evidence(name)
        return found if isinstance(found, str) else ""


class PlanNote(NamedTuple):
    """One plan of the orchestrator or the rules planner, accepted or rejected."""

    seq: int
    body: ev.PlanAccepted | ev.PlanRejected


class Spent(NamedTuple):
    """Tokens over all attempts that ended. `wasted` is the output of those that failed, `by_alias`
    the output of each alias."""

    prompt: int
    cached: int
    output: int
    wasted: int
    by_alias: Counter[str]


@dataclass(slots=True, eq=False, repr=False)
class _Served:
    """The successful attempts of one replica or pool by the time they ended."""

    ended: list[float] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    _median: tuple[int, float] = (0, 0.0)

    def usual_rate(self) -> float | None:
        if not self.rates:
            return None
        if self._median[0] != len(self.rates):
            self._median = (len(self.rates), statistics.median(self.rates))
        return self._median[1]


@dataclass(slots=True, eq=False, repr=False)
class Story:
    """One run. Made by `read_story`."""

    run_id: str = ""
    submitted: ev.RunSubmitted | None = None
    submitted_at: float = 0.0
    end: ev.RunEnded | None = None
    end_seq: int = 0
    end_at: float = 0.0
    events: int = 0
    cancel_seq: int = 0
    turns: list[int] = field(default_factory=list)
    attempts: dict[tuple[str, int], Attempt] = field(default_factory=dict)
    of_call: dict[str, list[Attempt]] = field(default_factory=dict)
    planned: dict[str, ev.PlannedCall] = field(default_factory=dict)
    planned_turn: dict[str, int] = field(default_factory=dict)
    plans: list[PlanNote] = field(default_factory=list)
    skipped: dict[str, tuple[int, ev.CallSkipped]] = field(default_factory=dict)
    published: dict[str, str] = field(default_factory=dict)
    syntheses: list[ev.SynthesisMade] = field(default_factory=list)
    budgets: list[tuple[int, ev.BudgetReached]] = field(default_factory=list)
    _by_replica: dict[str, _Served] = field(default_factory=dict)
    _by_pool: dict[str, _Served] = field(default_factory=dict)
    _failed_on: dict[str, list[Attempt]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return max(self.end_at - self.submitted_at, 0.0)

    @property
    def failed_attempts(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts.values() if attempt.failure is not None]

    @property
    def spent(self) -> Spent:
        by_alias: Counter[str] = Counter()
        prompt = cached = wasted = 0
        for attempt in self.attempts.values():
            if attempt.ended is None:
                continue
            usage = attempt.ended.usage
            prompt, cached = prompt + usage.prompt_tokens, cached + usage.cached_tokens
            by_alias[attempt.alias or "?"] += usage.output_tokens
            wasted += 0 if attempt.succeeded else usage.output_tokens
        return Spent(prompt, cached, by_alias.total(), wasted, by_alias)

    @property
    def missing(self) -> tuple[str, ...]:
        wanted = () if self.submitted is None else self.submitted.files
        return tuple(path for path in wanted if path not in self.published)

    def failures_on(self, replica: str | None) -> list[Attempt]:
        """The first failed attempts of a replica, in order of their ends."""
        return self._failed_on.get(replica or "", [])[:MOST_FAILURES]

    def served_by(self, replica: str | None, since: float, until: float) -> list[Attempt]:
        """The last few attempts that `replica` finished well between two times."""
        return _between(self._by_replica.get(replica or ""), since, until)

    def served_in(self, pool: str | None, since: float, until: float) -> list[Attempt]:
        return _between(self._by_pool.get(pool or ""), since, until)

    def usual_rate(self, attempt: Attempt) -> tuple[float, str] | None:
        """Tokens/s that a call usually gets there, and where that is known from: the failure's own
        evidence, else the other calls of the run on the replica, else in the pool."""
        recorded = attempt.number("usual_tokens_per_s")
        if recorded:
            return recorded, "the median of the alias's last calls there"
        for found, what in (
            (self._by_replica.get(attempt.replica or ""), f"other calls on {attempt.replica}"),
            (self._by_pool.get(attempt.pool or ""), f"other calls in pool {attempt.pool}"),
        ):
            rate = None if found is None else found.usual_rate()
            if rate is not None:
                return rate, what
        return None

    def recovered(self, attempt: Attempt) -> bool:
        """Whether a later attempt, or another call for the same file, made up for a failed one."""
        if any(other.succeeded for other in self.of_call[attempt.call]):
            return True
        planned = self.planned.get(attempt.call)
        if planned is None:
            return self._planned_after(attempt)
        return planned.output_file is not None and planned.output_file in self.published

    def _planned_after(self, attempt: Attempt) -> bool:
        """A plan or synthesis call that failed is repaired when the turn got a plan anyway."""
        turn = attempt.dispatched.turn if attempt.dispatched is not None else 0
        return any(
            isinstance(note.body, ev.PlanAccepted) and note.body.turn == turn for note in self.plans
        )


def read_story(events: Iterable[ev.Event]) -> Story:
    """Arrange a history. Events come in order; an open run's history simply ends."""
    story = Story()
    for event in events:
        story.run_id = event.run_id
        story.events = event.seq
        if story.end is None:
            story.end_at = event.at
        _fold(story, event)
    return story


def _fold(story: Story, event: ev.Event) -> None:
    body, seq = event.body, event.seq
    match body:
        case ev.RunSubmitted():
            story.submitted, story.submitted_at = body, event.at
        case ev.RunCancelRequested():
            story.cancel_seq = seq
        case ev.RunEnded():
            story.end, story.end_seq = body, seq
        case ev.TurnStarted():
            story.turns.append(body.turn)
        case ev.PlanAccepted():
            story.plans.append(PlanNote(seq, body))
            for call in body.calls:
                story.planned[call.id] = call
                story.planned_turn[call.id] = body.turn
        case ev.PlanRejected():
            story.plans.append(PlanNote(seq, body))
        case ev.CallDispatched():
            attempt = _attempt(story, body.call, body.attempt)
            attempt.dispatched, attempt.dispatched_seq = body, seq
            attempt.dispatched_at = event.at
        case ev.CallSucceeded() | ev.CallFailed():
            attempt = _attempt(story, body.call, body.attempt)
            attempt.ended, attempt.ended_seq = body, seq
            attempt.ended_at = event.at
            _count(story, attempt)
        case ev.RecoveryChosen():
            attempt = _attempt(story, body.call, body.attempt)
            attempt.recovery, attempt.recovery_seq = body, seq
        case ev.CallSkipped():
            story.skipped[body.call] = (seq, body)
        case ev.FilePublished():
            story.published[body.path] = body.call
        case ev.BudgetReached():
            story.budgets.append((seq, body))
        case ev.SynthesisMade():
            story.syntheses.append(body)
        case _:
            pass


def _attempt(story: Story, call: str, number: int) -> Attempt:
    found = story.attempts.get((call, number))
    if found is None:
        found = Attempt(call, number, planned=story.planned.get(call))
        story.attempts[(call, number)] = found
        story.of_call.setdefault(call, []).append(found)
    return found


def _count(story: Story, attempt: Attempt) -> None:
    if not attempt.succeeded:
        if attempt.failure is not None:
            story._failed_on.setdefault(attempt.replica or "", []).append(attempt)
        return
    for name, table in ((attempt.replica, story._by_replica), (attempt.pool, story._by_pool)):
        if name is None:
            continue
        served = table.setdefault(name, _Served())
        served.ended.append(attempt.ended_at)
        served.attempts.append(attempt)
        if attempt.rate is not None:
            served.rates.append(attempt.rate)


def _between(served: _Served | None, since: float, until: float) -> list[Attempt]:
    if served is None:
        return []
    first, last = bisect_left(served.ended, since), bisect_right(served.ended, until)
    return served.attempts[max(first, last - MOST_WITNESSES) : last]
