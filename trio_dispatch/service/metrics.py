"""Metrics of a dispatch service for Prometheus; they need the package prometheus-client.

::

    metrics = Metrics()
    async with (
        open_store("dispatches.db") as store,
        open_service(store, interceptors=[observing(metrics.observe_call)]) as service,
    ):
        metrics.watch(service)
        ...
        text = metrics.text()
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .observe import FinishedCall
from .service import DispatchService

__all__ = ["Metrics"]

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALLS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_STREAMS: Final = {"StreamMicrogridDispatches", "Watch"}


class Metrics:
    """Counts what a service does, in a Prometheus registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "dispatch_calls",
            "Finished calls by method and gRPC status.",
            ["method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "dispatch_call_seconds",
            "Duration of calls, without streams.",
            ["method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        # The library would look them up under a lock.
        self._calls_of = cache(self._calls.labels)
        self._seconds_of = cache(self._seconds.labels)
        self._commit_seconds = Histogram(
            "dispatch_store_commit_seconds",
            "Duration of a transaction of the store, including its sync to the disk.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._commit_calls = Histogram(
            "dispatch_store_commit_calls",
            "Number of writing calls that shared a transaction.",
            buckets=_CALLS,
            registry=self.registry,
        )

    def watch(self, service: DispatchService) -> None:
        """Count what a service, its server and its store do.  To be called once."""
        service.store.on_commit = self.observe_commit
        self.registry.register(_Statistics(service))

    def observe_call(self, call: FinishedCall) -> None:
        """Count a call; an observer for `observing`."""
        method = call.method.rpartition("/")[2]
        self._calls_of(method, call.status.name).inc()
        if method not in _STREAMS:
            self._seconds_of(method).observe(call.duration)

    def observe_commit(self, calls: int, seconds: float) -> None:
        """Count a commit of the store."""
        self._commit_calls.observe(calls)
        self._commit_seconds.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)


class _Statistics(Collector):
    """What the server and the watchers count themselves."""

    def __init__(self, service: DispatchService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        server = self._service.server.statistics()
        watchers = self._service.store.watchers.statistics()
        for name, text, gauge in (
            ("connections", "Open connections.", server.connections),
            ("calls_running", "Calls under way, including streams.", server.calls_running),
            ("watchers", "Streams that watch a microgrid.", watchers.watchers),
            (
                "watcher_queue_longest",
                "Number of changes that wait for the slowest watcher.",
                watchers.longest_queue,
            ),
        ):
            yield GaugeMetricFamily(f"dispatch_{name}", text, value=gauge)
        for name, text, count in (
            ("connections_served", "Connections so far.", server.connections_served),
            ("received_bytes", "Bytes received from clients.", server.bytes_received),
            ("sent_bytes", "Bytes sent to clients.", server.bytes_sent),
            ("changes", "Committed changes.", watchers.published),
            ("events", "Changes taken by watchers, counted for each one.", watchers.delivered),
            (
                "watchers_disconnected",
                "Watchers disconnected because they were too slow.",
                watchers.disconnected,
            ),
        ):
            yield CounterMetricFamily(f"dispatch_{name}", text, value=count)
