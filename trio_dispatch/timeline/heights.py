"""The heights of bars: a number of each dispatch's payload, on one scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..model.dispatch import Dispatch
from ..model.payload import JSON

__all__ = ["Heights", "heights_of", "number_in"]


@dataclass(frozen=True, slots=True)
class Heights:
    """The scale of a picture, which includes zero.

    Attributes:
      key: The key of the payload, dots between nested keys.
      low: The lowest number, or 0 if none is negative.
      high: The highest number, or 0 if none is positive.
      complete: Whether every dispatch has a number.
    """

    key: str
    low: float
    high: float
    complete: bool

    def span(self, dispatch: Dispatch) -> tuple[float, float] | None:
        """Return the bottom and the top of a bar, as parts of its lane from 0 to 1.

        None is for a dispatch without a number.
        """
        number = number_in(dispatch.payload, self.key)
        if number is None:
            return None
        # Two large numbers may be further apart than a float can be.
        size = max(abs(self.low), abs(self.high)) or 1.0
        low, high = self.low / size, self.high / size
        room = high - low or 1.0
        zero, at = -low / room, (number / size - low) / room
        return min(zero, at), max(zero, at)

    def __str__(self) -> str:
        return f"{self.key}, {self.low:,.6g} to {self.high:,.6g}"


def heights_of(dispatches: Iterable[Dispatch], key: str | None) -> Heights | None:
    """Return the scale for dispatches; None without a key, or if no payload has a number there."""
    if key is None:
        return None
    numbers = [number_in(each.payload, key) for each in dispatches]
    given = [number for number in numbers if number is not None]
    if not given:
        return None
    return Heights(key, min(0.0, *given), max(0.0, *given), len(given) == len(numbers))


def number_in(payload: Mapping[str, JSON], key: str) -> float | None:
    """Return the number under a key of a payload; None if there is no finite number."""
    value: JSON = payload.get(key)
    if value is None:
        value = payload
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value
