"""What was reported, as dispatches to draw beside the planned ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from ..model.dispatch import Dispatch
from ..model.runs import ReportedRun
from ..model.target import Target, TargetIds

__all__ = ["ActualRun", "actual_runs"]

_SECOND = timedelta(seconds=1)


class ActualRun(Dispatch):
    """A run that was reported, to draw in a row beside the planned ones."""

    __slots__ = ()


def actual_runs(
    runs: Iterable[ReportedRun],
    now: datetime,
    *,
    targets: Mapping[int, Target | None],
    by_component: bool = False,
) -> Iterator[ActualRun]:
    """Yield what to draw for each reported run that has started, from its start to its end.

    The payload says what became of the run.

    Args:
      now: Until when runs are drawn that have not ended.
      targets: The targets of the dispatches, by their ids.
      by_component: Whether the target is the component of the actor, if it has one.
    """
    for run in runs:
        began = run.started_time
        if began is None:
            continue
        end = run.ended_time or now
        own = None if run.component is None else TargetIds(run.component)
        known = targets.get(run.dispatch_id)
        is_pulse = run.until == run.start_time
        yield ActualRun(
            id=run.dispatch_id,
            type=run.type,
            start_time=began.replace(microsecond=0),
            duration=timedelta() if is_pulse else max(_SECOND, (end - began) // _SECOND * _SECOND),
            target=(own or known) if by_component else (known or own),
            dry_run=run.dry_run,
            payload=_outcome(run),
            create_time=began,
            update_time=run.report_time,
        )


def _outcome(run: ReportedRun) -> dict[str, str | float]:
    fields: dict[str, str | float] = {
        "state": run.state.name.lower(),
        "dispatcher": run.dispatcher,
        "actor": run.actor,
        "reason": "" if run.reason is None else run.reason.name.lower(),
        "error": run.error,
    }
    if run.attempts > 1:
        fields["attempts"] = run.attempts
    return {name: value for name, value in fields.items() if value}
