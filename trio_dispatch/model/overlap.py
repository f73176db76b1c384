"""Whether two dispatches act on the same components at the same time."""

from __future__ import annotations

from datetime import datetime, timedelta

from .dispatch import Dispatch
from .target import ElectricalComponentCategory, Target, TargetCategories, TargetIds
from .validation import utc

__all__ = ["first_overlap", "shared_components"]

_YEAR = timedelta(days=366)


def first_overlap(
    first: Dispatch,
    second: Dispatch,
    begin: datetime,
    *,
    within: timedelta = _YEAR,
    max_steps: int = 100,
) -> datetime | None:
    """Return the first moment from which two dispatches run at the same time.

    Pulses and dry runs do not run.  Each step goes to the next moment at which one of the two could
    overlap the other, and asks each of them once.

    Args:
      begin: Where the search begins, itself included.
      within: How far it goes.
      max_steps: After how many steps it is given up.

    Returns:
      The moment in UTC, or None if there was none, or none was found.
    """
    if first.dry_run or second.dry_run or first.is_pulse or second.is_pulse:
        return None
    moment = utc(begin, "begin")
    try:
        end = moment + within
    except OverflowError:
        end = datetime.max.replace(tzinfo=moment.tzinfo)
    for _ in range(max_steps):
        one, other = (_next_running(each, moment) for each in (first, second))
        if one is None or other is None or max(one, other) >= end:
            return None
        if one == other:
            return one
        # Before the later of both, the other one cannot overlap it.
        moment = max(one, other)
    return None


def _next_running(dispatch: Dispatch, moment: datetime) -> datetime | None:
    """Return the first moment, from this one on, at which a dispatch runs."""
    if not dispatch.active or dispatch.deleted:
        return None
    return moment if dispatch.running_at(moment) else dispatch.next_run_after(moment)


def shared_components(first: Target | None, second: Target | None) -> list[str]:
    """Return what two targets have in common, in words: ``component 7``, ``battery``.

    Ids and a category have nothing in common that is known here.
    """
    if isinstance(first, TargetIds) and isinstance(second, TargetIds):
        return [f"component {id_}" for id_ in sorted(first & second)]
    if isinstance(first, TargetCategories) and isinstance(second, TargetCategories):
        both = {
            ElectricalComponentCategory(one.category)
            for one in first
            for other in second
            if one.category == other.category
            and (one.type is None or other.type is None or one.type == other.type)
        }
        return [category.name.lower() for category in sorted(both)]
    return []
