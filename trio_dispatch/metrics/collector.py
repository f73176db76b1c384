"""What Prometheus is shown of dispatchers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import accumulate
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .. import __version__, clock
from ..dispatcher.facade import Dispatcher
from ..dispatcher.state import SyncPhase
from ..dispatcher.statistics import DispatcherStatistics

__all__ = ["DispatcherCollector"]

_LABELS: Final = ["microgrid", "dispatcher"]

_COUNTERS: Final = {
    "announced": "Status messages.",
    "missed": "Runs that were due and not announced.",
    "undecodable": "Dispatches that arrived and could not be decoded.",
    "probes": "Checks that the stream of changes misses nothing.",
    "stale_streams": "Streams that did not deliver every change, and were replaced.",
    "reconnects": "How often contact with the service was lost and regained.",
    "reports_delivered": "Run reports that were delivered.",
    "reports_lost": "Run reports that were lost, because too many waited or they were refused.",
}
_GAUGES: Final = {
    "dispatches": "Known dispatches.",
    "running": "Dispatches that run now.",
    "reports_waiting": "Run reports that are not delivered yet.",
}


class DispatcherCollector(Collector):
    """Makes the metrics of one or more dispatchers, for Prometheus.

    Register it with a registry, ``REGISTRY.register(DispatcherCollector(dispatcher))``, or serve it
    with `serve_metrics`.  The dispatchers are read when Prometheus scrapes; in between the
    collector costs nothing.  Collect in the thread of the Trio run, as `serve_metrics` does.

    Give all dispatchers of a process to one collector.  Their metrics have the labels
    ``microgrid`` and ``dispatcher``, the name, or empty.
    """

    def __init__(self, *dispatchers: Dispatcher) -> None:
        self._dispatchers = dict.fromkeys(dispatchers)

    def add(self, dispatcher: Dispatcher) -> None:
        """Add a dispatcher."""
        self._dispatchers[dispatcher] = None

    def discard(self, dispatcher: Dispatcher) -> None:
        """Remove a dispatcher, for example because it was closed."""
        self._dispatchers.pop(dispatcher, None)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: to register the collector reads no dispatcher."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        read = [_Read(dispatcher) for dispatcher in self._dispatchers]
        info = _gauge("info", "The version of trio-dispatch; always 1.", "version")
        connection = _gauge("connection", "1 for the state of the connection, else 0.", "state")
        offline = _gauge("offline_seconds", "The time without contact to the service.")
        event = _gauge("last_event_timestamp_seconds", "When the last event came on the stream.")
        confirmed = _gauge(
            "last_confirmed_timestamp_seconds", "When what is known last agreed with the service."
        )
        delivery = _gauge(
            "last_delivery_timestamp_seconds", "When run reports were last delivered."
        )
        lateness = HistogramMetricFamily(
            "dispatcher_lateness_seconds",
            "How late scheduled starts and ends of runs were announced.",
            labels=_LABELS,
        )
        actors = _gauge("actors", "Actors, by the state of their tasks.", "type", "state")
        refused = _gauge("refused_runs", "Runs that are due, with an invalid payload.", "type")
        calls = _counter("actor_calls", "Calls of actors.", "type")
        failures = _counter("actor_failures", "Calls of actors that failed.", "type")
        for each in read:
            info.add_metric([*each.labels, __version__], 1)
            for phase in SyncPhase:
                connection.add_metric([*each.labels, phase.value], float(phase is each.sync.phase))
            offline.add_metric(each.labels, each.seconds_since(each.sync.offline_since))
            for family, moment in (
                (event, each.last_event),
                (confirmed, each.sync.confirmed_at),
                (delivery, each.statistics.last_delivery),
            ):
                if moment is not None:
                    family.add_metric(each.labels, moment.timestamp())
            lateness.add_metric(each.labels, *_buckets(each.statistics))
            for (type_, state), count in each.actors.items():
                actors.add_metric([*each.labels, type_, state], count)
            for type_, count in each.refused.items():
                refused.add_metric([*each.labels, type_], count)
            for type_, count in each.statistics.actor_calls.items():
                calls.add_metric([*each.labels, type_], count)
                failed = each.statistics.actor_failures.get(type_, 0)
                failures.add_metric([*each.labels, type_], failed)
        yield from (info, connection, offline, event, confirmed, delivery, lateness)
        yield from (actors, refused, calls, failures)
        for name, text in _COUNTERS.items():
            yield _filled(_counter(name, text), read, name)
        for name, text in _GAUGES.items():
            yield _filled(_gauge(name, text), read, name)


class _Read:
    """What a dispatcher says of itself now."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.labels = [str(dispatcher.microgrid_id), dispatcher.name or ""]
        self.statistics = dispatcher.statistics()
        self.sync = dispatcher.sync_state.value
        self.actors: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[str] = Counter()
        for info in dispatcher.runs:
            if info.state is not None:
                self.actors[info.dispatch.type, info.state.value] += 1
            elif info.error is not None:
                self.refused[info.dispatch.type] += 1

    @property
    def last_event(self) -> datetime | None:
        age = self.statistics.last_event_age
        return None if age is None else clock.now() - age

    def seconds_since(self, moment: datetime | None) -> float:
        return 0.0 if moment is None else (clock.now() - moment).total_seconds()


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"dispatcher_{name}", text, labels=[*_LABELS, *labels])


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"dispatcher_{name}", text, labels=[*_LABELS, *labels])


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, read: Iterable[_Read], name: str
) -> Metric:
    for each in read:
        value: int = getattr(each.statistics, name)
        family.add_metric(each.labels, value)
    return family


def _buckets(statistics: DispatcherStatistics) -> tuple[list[tuple[str, float]], float]:
    """Return the buckets as Prometheus wants them, each with all smaller ones, and the sum."""
    histogram = statistics.lateness_histogram
    bounds = [*map(str, histogram.bounds), "+Inf"]
    sums = accumulate(map(float, histogram.counts))
    return [*zip(bounds, sums, strict=True)], histogram.total.total_seconds()
