"""Metrics of a dispatch service for Prometheus; they need the package prometheus-client.

::

    metrics = Metrics()
    async with (
        open_store("dispatches.db") as store,
        open_service(store, interceptors=[observing(metrics.observe_call)]) as service,
    ):
        metrics.watch(service)
        ...
        text = await metrics.text()
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from importlib.metadata import version
from platform import python_version
from typing import Final

import trio
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..model.dispatchers import DispatcherInfo
from .backups import BackupStatistics
from .errors import StoreError
from .observe import FinishedCall
from .service import DispatchService
from .store.statistics import StoreStatistics

__all__ = ["Metrics"]

log = logging.getLogger("trio_dispatch.service.metrics")

_KEPT: Final = 10.0
_READ_TIMEOUT: Final = 5.0
_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALLS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_STREAMS: Final = {"StreamMicrogridDispatches", "Watch"}


class Metrics:
    """Counts what a service does, in a Prometheus registry of its own.

    Attributes:
      registry: The registry, for further metrics.
      certificate_expiry: When the certificate of the service expires, None without one.
      backups: What became of the scheduled backups, None without them.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.certificate_expiry: datetime | None = None
        self.backups: BackupStatistics | None = None
        self._contents: _Contents | None = None
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
        ProcessCollector(registry=self.registry)

    def watch(self, service: DispatchService) -> None:
        """Count what a service, its server and its store do.  To be called once."""
        service.store.on_commit = self.observe_commit
        self._contents = _Contents(service)
        self.registry.register(_Statistics(self, service))
        self.registry.register(self._contents)

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

    async def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus.

        What has to be read from the store is at most ten seconds old.
        """
        if self._contents is not None:
            await self._contents.read()
        else:
            await trio.lowlevel.checkpoint()
        return generate_latest(self.registry)


class _Statistics(Collector):
    """What the server and the watchers count themselves."""

    def __init__(self, metrics: Metrics, service: DispatchService) -> None:
        self._metrics = metrics
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
        refused = CounterMetricFamily(
            "dispatch_unauthenticated",
            "Calls refused as unauthenticated, by what was wrong.",
            labels=["fault"],
        )
        for fault, count in self._service.refused.items():
            refused.add_metric([fault], count)
        yield refused
        yield from self._times()

    def _times(self) -> Iterator[Metric]:
        if (expiry := self._metrics.certificate_expiry) is not None:
            yield GaugeMetricFamily(
                "dispatch_certificate_expiry_timestamp_seconds",
                "When the certificate of the service expires.",
                value=expiry.timestamp(),
            )
        if (backups := self._metrics.backups) is not None:
            yield GaugeMetricFamily(
                "dispatch_last_backup_timestamp_seconds",
                "When the last scheduled backup was made; 0 if none was.",
                value=0 if backups.last is None else backups.last.timestamp(),
            )
            yield CounterMetricFamily(
                "dispatch_failed_backups", "Scheduled backups that failed.", value=backups.failed
            )


class _Contents(Collector):
    """What is in the store, as it was read last."""

    def __init__(self, service: DispatchService) -> None:
        self._service = service
        self._lock = trio.Lock()
        self._read_at = -math.inf
        self._store: StoreStatistics | None = None
        self._dispatchers: dict[int, list[DispatcherInfo]] = {}

    async def read(self) -> None:
        """Read the store, unless it was read in the last seconds."""
        async with self._lock:
            if trio.current_time() - self._read_at < _KEPT:
                return
            try:
                with trio.fail_after(_READ_TIMEOUT):
                    self._store = await self._service.store.statistics()
                    self._dispatchers = await self._service.dispatchers()
            except (StoreError, trio.TooSlowError, OSError) as exc:
                log.warning("the store cannot be read for metrics: %r", exc)
                self._store = None
                self._dispatchers = {}
            self._read_at = trio.current_time()

    def collect(self) -> Iterator[Metric]:
        store = self._store
        info = GaugeMetricFamily(
            "dispatch_build_info",
            "The versions of trio-dispatch and Python; always 1.",
            labels=["version", "python"],
        )
        info.add_metric([version("trio-dispatch"), python_version()], 1)
        yield info
        yield GaugeMetricFamily(
            "dispatch_store_up", "Whether the store can be read.", value=float(store is not None)
        )
        if store is None:
            return
        oldest = None if store.oldest_change is None else store.oldest_change / 1e9
        for name, text, value in (
            ("dispatches", "Dispatches of all microgrids.", store.dispatches),
            (
                "oldest_change_timestamp_seconds",
                "When the oldest logged change was made.",
                oldest,
            ),
            ("database_bytes", "Size of the database.", store.size),
            ("disk_free_bytes", "What is free on the disk of the database.", store.disk_free),
            ("disk_bytes", "Size of the disk of the database.", store.disk_size),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"dispatch_{name}", text, value=value)
        yield from self._of_dispatchers()

    def _of_dispatchers(self) -> Iterator[Metric]:
        labels = ["microgrid", "dispatcher"]
        up, contact, waiting, lateness = (
            GaugeMetricFamily(f"dispatch_dispatcher_{name}", text, labels=labels)
            for name, text in (
                ("up", "1 while the dispatcher is live, 0 if it is offline or closed."),
                ("last_contact_timestamp_seconds", "When the dispatcher reported last."),
                ("reports_waiting", "Run reports that wait at the dispatcher."),
                ("lateness_seconds", "How late it announced the last start or end of a run."),
            )
        )
        lost = CounterMetricFamily(
            "dispatch_dispatcher_reports_lost", "Run reports that it lost.", labels=labels
        )
        for microgrid_id, found in self._dispatchers.items():
            for info in found:
                values = [str(microgrid_id), info.name]
                contact.add_metric(values, info.last_report_time.timestamp())
                lost.add_metric(values, info.lost)
                if info.status is not None:
                    up.add_metric(values, float(info.offline_since is None))
                    waiting.add_metric(values, info.status.waiting)
                    lateness.add_metric(values, info.status.lateness.total_seconds())
        yield from (up, contact, waiting, lateness, lost)
