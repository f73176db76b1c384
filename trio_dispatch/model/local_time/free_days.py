"""Days on which a schedule does not start: given ones, and public holidays."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ..validation import shown

if TYPE_CHECKING:
    from holidays import HolidayBase

__all__ = ["FreeDays", "check_region"]


class FreeDays(NamedTuple):
    """Days on which a schedule does not start.

    Attributes:
      days: Given ones, in order.
      region: The region whose public holidays are free, too; None for no others.
    """

    days: tuple[date, ...]
    region: str | None

    def between(self, first: date, last: date) -> Iterator[date]:
        """Return the free days from one day to another, both included, in order.

        Raises:
          ValueError: the region's holidays of a year are not known.
        """
        if self.region is None:
            at = bisect_left(self.days, first)
            while at < len(self.days) and self.days[at] <= last:
                yield self.days[at]
                at += 1
            return
        given = frozenset(self.days)
        for year in range(first.year, last.year + 1):
            free = _holidays(self.region, year) | {day for day in given if day.year == year}
            yield from (day for day in sorted(free) if first <= day <= last)

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and day in self.between(day, day)


def check_region(region: str) -> str:
    """Return the name of a region whose holidays are known: ``DE``, or ``DE-BE`` for a part of it.

    Raises:
      ValueError: the region is unknown, or the package `holidays` is not installed.
    """
    if not isinstance(region, str):
        raise ValueError(f"holidays {shown(region)} is not a str, such as 'DE-BE'")
    _calendar(region)
    return region


@lru_cache(maxsize=256)
def _calendar(region: str) -> HolidayBase:
    try:
        from holidays import country_holidays, list_supported_countries  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ValueError(
            f"holidays {region!r} needs the package holidays: install trio-dispatch[local-time]"
        ) from None
    known = list_supported_countries()
    country, _, part = region.partition("-")
    if country not in known:
        raise ValueError(
            f"holidays {region!r}: the country {country!r} is unknown: use a code of ISO 3166, "
            "such as 'DE', or 'DE-BE' for a part of the country"
        )
    if "-" in region and part not in known[country]:
        parts = ", ".join(known[country]) or "it has none"
        close = get_close_matches(part.upper(), known[country], n=1, cutoff=0.4)
        hint = f"; did you mean '{country}-{close[0]}'?" if close else ""
        raise ValueError(f"holidays {region!r}: {part!r} is not a part of {country}: {parts}{hint}")
    return country_holidays(country, subdiv=part or None, expand=False)


@lru_cache(maxsize=1024)
def _holidays(region: str, year: int) -> frozenset[date]:
    calendar = _calendar(region)
    if not calendar.start_year <= year <= calendar.end_year:
        raise ValueError(
            f"holidays {region!r} are known from {calendar.start_year} to {calendar.end_year}, "
            f"not in {year}"
        )
    from holidays import country_holidays  # noqa: PLC0415

    country, _, part = region.partition("-")
    return frozenset(country_holidays(country, subdiv=part or None, years=year, expand=False))
