"""The counters of a dispatcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .lateness import LatenessHistogram

__all__ = ["DispatcherStatistics"]


@dataclass(frozen=True, slots=True)
class DispatcherStatistics:
    """The counters of a dispatcher.

    Attributes:
      dispatches: The number of known dispatches.
      announced: The number of status messages that were published.
      missed: The number of missed runs.
      undecodable: The number of dispatches that arrived and could not be decoded.
      probes: The number of probes, see `probe_interval` of `open_dispatcher`.
      stale_streams: The number of streams that did not deliver every change, and were replaced.
      reconnects: How often contact with the service was lost and regained.
      last_event_age: The time since the stream delivered its last event; None before the first.
      lateness: How late the last scheduled message was.
      worst_lateness: The greatest lateness of a scheduled message.
      lateness_histogram: How late all scheduled messages were.
      running: The number of dispatches that run now.
      actor_calls: How often actors were called, by the type of the dispatch.
      actor_failures: How often they failed.
      reports_waiting: The number of run reports that are not delivered yet, see `name` of
        `open_dispatcher`.
      reports_delivered: The number of run reports that this process has delivered.
      reports_lost: The number of run reports that were lost, because too many were waiting or the
        service refused them.
      last_delivery: When run reports were last delivered, in UTC; None if never.
    """

    dispatches: int
    announced: int
    missed: int
    undecodable: int
    probes: int
    stale_streams: int
    reconnects: int
    last_event_age: timedelta | None
    lateness: timedelta
    worst_lateness: timedelta
    lateness_histogram: LatenessHistogram
    running: int = 0
    actor_calls: Mapping[str, int] = field(default_factory=dict)
    actor_failures: Mapping[str, int] = field(default_factory=dict)
    reports_waiting: int = 0
    reports_delivered: int = 0
    reports_lost: int = 0
    last_delivery: datetime | None = None
