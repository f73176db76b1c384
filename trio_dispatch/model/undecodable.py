"""A dispatch that could not be decoded."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Undecodable"]


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A dispatch that arrived over the wire and could not be decoded.

    Attributes:
      id: The dispatch's id; None if not even that could be read.
      reason: What is wrong with it.
    """

    id: int | None
    reason: str
