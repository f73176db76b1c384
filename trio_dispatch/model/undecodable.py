"""What could not be decoded."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Undecodable"]


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A dispatch, or a run or change of one, that arrived over the wire and could not be decoded.

    Attributes:
      id: The dispatch's id; None if the id could not be decoded either.
      reason: Why it could not be decoded.
    """

    id: int | None
    reason: str
