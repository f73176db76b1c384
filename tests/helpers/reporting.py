"""Reports of runs, and a store's content of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from trio_dispatch import clock
from trio_dispatch.api.codec import time_to_nanos
from trio_dispatch.model.dispatch import Dispatch
from trio_dispatch.model.runs import ReportKind, RunReport
from trio_dispatch.service import Store
from trio_dispatch.service.store.runs import Delivery

_sequence = count(1)


def report_about(
    dispatch: Dispatch,
    kind: ReportKind = ReportKind.STARTED,
    *,
    start: datetime | None = None,
    time: datetime | None = None,
    **changes: Any,
) -> RunReport:
    """Return a report about a run of a dispatch, by default its first one, at its start."""
    moment = dispatch.start_time if start is None else start
    fields: dict[str, Any] = {
        "sequence": next(_sequence),
        "dispatch_id": dispatch.id,
        "start_time": moment,
        "kind": kind,
        "time": moment if time is None else time,
        "update_time": dispatch.update_time,
        "type": dispatch.type,
        "dry_run": dispatch.dry_run,
        "until": dispatch.end_of(moment),
    }
    return RunReport(**fields | changes)


async def store_reports(
    store: Store, *reports: RunReport, microgrid_id: int = 1, dispatcher: str = "site-7"
) -> None:
    """Have a dispatcher report, with each report from a queue of its own."""
    for report in reports:
        now = time_to_nanos(clock.now())
        await store.runs.report(
            Delivery(microgrid_id, dispatcher, f"queue {report.sequence}", [report], 0, "", now)
        )


def ago(**delta: float) -> datetime:
    """Return a moment before now, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(**delta)
