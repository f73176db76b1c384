"""What a dispatch service counts, for Prometheus.  Needs the package prometheus-client.

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

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .observe import FinishedCall
from .service import DispatchService

__all__ = ["Metrics"]

_LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Metrics:
    """Counts what a service does, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "dispatch_calls",
            "Calls that are over, by method and gRPC status.",
            ["method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "dispatch_call_seconds",
            "How long calls took; streams are left out.",
            ["method"],
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self._commit_seconds = Histogram(
            "dispatch_store_commit_seconds",
            "How long the store took to run a transaction and get it onto the disk.",
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self._commit_calls = Histogram(
            "dispatch_store_commit_calls",
            "How many calls that write shared a transaction.",
            buckets=_SIZES,
            registry=self.registry,
        )

    def watch(self, service: DispatchService) -> None:
        """Count what a service, its server and its store do.  To be called once."""
        service.store.on_commit = self.observe_commit
        self.registry.register(_Statistics(service))

    def observe_call(self, call: FinishedCall) -> None:
        """Count a call; an observer for `observing`."""
        method = call.method.rpartition("/")[2]
        self._calls.labels(method, call.status.name).inc()
        if method not in _STREAMS:
            self._seconds.labels(method).observe(call.duration)

    def observe_commit(self, calls: int, seconds: float) -> None:
        """Count a commit of the store."""
        self._commit_calls.observe(calls)
        self._commit_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of it, in the text format of Prometheus."""
        return generate_latest(self.registry)


_STREAMS = {"StreamMicrogridDispatches", "Watch"}


class _Statistics(Collector):
    """What the server and the watchers count by themselves."""

    def __init__(self, service: DispatchService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        server = self._service.server.statistics()
        watchers = self._service.store.watchers.statistics()
        for name, text, gauge in (
            ("connections", "Connections that are open.", server.connections),
            ("calls_running", "Calls under way, streams included.", server.calls_running),
            ("watchers", "Who watches a microgrid at present.", watchers.watchers),
            (
                "watcher_queue_longest",
                "How many changes wait for the slowest watcher.",
                watchers.longest_queue,
            ),
        ):
            yield GaugeMetricFamily(f"dispatch_{name}", text, value=gauge)
        for name, text, count in (
            ("connections_served", "Connections that there have been.", server.connections_served),
            ("received_bytes", "Bytes that came from clients.", server.bytes_received),
            ("sent_bytes", "Bytes that went to clients.", server.bytes_sent),
            ("changes", "Changes that were committed.", watchers.published),
            ("events", "Changes that watchers were told of, each counted.", watchers.told),
            ("watchers_cut", "Watchers cut off for being too slow.", watchers.cut),
        ):
            yield CounterMetricFamily(f"dispatch_{name}", text, value=count)
