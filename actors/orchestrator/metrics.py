"""First metrics of the orchestrator through `ray.util.metrics`: rates for Prometheus, not totals.

Totals that must survive a restart come from the database (`/metrics` of the API). Here events are
only added up in plain numbers, and handed to Ray twice a second, so that a commit never pays for
telemetry. No run or call ids in tags: their number has no bound.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping

from ray.util.metrics import Counter, Histogram

from familiar import event as ev
from familiar.run.state import CallState

BOUNDARIES_S = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0]
MAX_SAMPLES = 10_000
"""Durations kept between two hand-overs; beyond that, more of the same add nothing."""


class Metrics:
    def __init__(self) -> None:
        self._runs = Counter("familiar_runs", "Runs that ended.", ("outcome",))
        self._calls = Counter("familiar_calls", "Attempts that ended.", ("alias", "end"))
        self._tokens = Counter("familiar_tokens", "Tokens of ended attempts.", ("alias", "kind"))
        self._taken_up = Counter(
            "familiar_taken_up", "Open runs and due calls that nobody worked on.", ("what",)
        )
        self._queue_s = Histogram(
            "familiar_queue_seconds", "From ready to dispatched.", BOUNDARIES_S, ("alias",)
        )
        self._call_s = Histogram(
            "familiar_call_seconds", "From started to ended.", BOUNDARIES_S, ("alias",)
        )
        self.all_taken_up = 0
        self._tally: Tally[tuple[str, str, str]] = Tally()
        self._samples: list[tuple[Histogram, str, float]] = []

    def see(self, event: ev.Event, calls: Mapping[str, CallState]) -> None:
        """Count a committed event; `calls` are those of its run."""
        body = event.body
        if isinstance(body, ev.RunEnded):
            self._tally["run", body.outcome, ""] += 1
        elif isinstance(body, ev.CallDispatched):
            self._sample(self._queue_s, body.alias, event.at - body.queued_at)
        elif isinstance(body, ev.CallSucceeded | ev.CallFailed):
            alias = calls[body.call].planned.alias
            end = "succeeded"
            if isinstance(body, ev.CallFailed):
                end = str(body.failure.failure_class)
            self._tally["call", alias, end] += 1
            for kind in ("prompt", "output", "cached"):
                self._tally["tokens", alias, kind] += getattr(body.usage, f"{kind}_tokens")
            if body.timing is not None:
                seconds = body.timing.ended_at - body.timing.started_at
                self._sample(self._call_s, alias, seconds)

    def taken_up(self, what: str) -> None:
        """Count a run or a call that stood still and was taken up."""
        self.all_taken_up += 1
        self._taken_up.inc(1, {"what": what})

    def hand_over(self) -> None:
        """Give Ray what was counted since the last time."""
        tally, self._tally = self._tally, Tally()
        samples, self._samples = self._samples, []
        for (what, first, second), count in tally.items():
            if not count:
                continue
            if what == "run":
                self._runs.inc(count, {"outcome": first})
            elif what == "call":
                self._calls.inc(count, {"alias": first, "end": second})
            else:
                self._tokens.inc(count, {"alias": first, "kind": second})
        for histogram, alias, seconds in samples:
            histogram.observe(max(seconds, 0.0), {"alias": alias})

    def _sample(self, histogram: Histogram, alias: str, seconds: float) -> None:
        if len(self._samples) < MAX_SAMPLES:
            self._samples.append((histogram, alias, seconds))
