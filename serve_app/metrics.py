"""Totals for Prometheus, out of the database.

A `prometheus_client` collector without any state: each scrape reads the sums of the projections. So
a total never falls when a process is restarted, and every replica of the API gives the same answer,
whichever one a proxy picks. Rates and latencies of the moment are not here: processes export those
through Ray. No label holds the id of a run or a call, so the number of series stays small.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from actors.store.queries import Reader
from actors.store.rows import Totals

_OPEN = ("running", "cancelling")


class TotalsCollector(Collector):
    """Yields the metric families of one reading."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        yield from self._runs()
        yield from self._calls()

    def _runs(self) -> Iterator[Metric]:
        open_ = GaugeMetricFamily(
            "familiar_runs_open", "Runs that have not ended.", labels=["status"]
        )
        ended = CounterMetricFamily(
            "familiar_runs_ended", "Runs that have ended, by outcome.", labels=["outcome"]
        )
        for status, count in self._totals.runs.items():
            (open_ if status in _OPEN else ended).add_metric([status], count)
        submitted = CounterMetricFamily("familiar_runs_submitted", "Runs that were accepted.")
        submitted.add_metric([], sum(self._totals.runs.values()))
        yield from (submitted, open_, ended)

    def _calls(self) -> Iterator[Metric]:
        labels = ["alias", "end"]
        attempts = CounterMetricFamily(
            "familiar_call_attempts", "Ended attempts of calls, by alias and end.", labels=labels
        )
        tokens = CounterMetricFamily(
            "familiar_tokens", "Tokens, by alias and kind.", labels=["alias", "kind"]
        )
        queued = CounterMetricFamily(
            "familiar_call_queue_seconds",
            "Waiting from ready to dispatched, summed over attempts.",
            labels=labels,
            unit="seconds",
        )
        busy = CounterMetricFamily(
            "familiar_call_seconds",
            "Time on a replica, summed over attempts.",
            labels=labels,
            unit="seconds",
        )
        sums: dict[tuple[str, str], int] = {}
        for row in self._totals.calls:
            alias = row.alias or "unknown"
            attempts.add_metric([alias, row.end], row.attempts)
            queued.add_metric([alias, row.end], row.queue_s)
            busy.add_metric([alias, row.end], row.call_s)
            for kind, count in (
                ("prompt", row.prompt_tokens),
                ("output", row.output_tokens),
                ("cached", row.cached_tokens),
            ):
                sums[alias, kind] = sums.get((alias, kind), 0) + count
        for (alias, kind), count in sums.items():
            tokens.add_metric([alias, kind], count)
        yield from (attempts, tokens, queued, busy)


def render(reader: Reader, accept: str) -> tuple[bytes, str]:
    """The totals in the format that `accept` asks for, and its media type."""
    encode, media_type = choose_encoder(accept)
    return encode(TotalsCollector(reader.totals())), media_type
