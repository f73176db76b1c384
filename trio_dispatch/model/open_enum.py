"""Enumerations of the API, which newer peers may have extended."""

from __future__ import annotations

from enum import IntEnum
from typing import Self

__all__ = ["OpenEnum"]


class OpenEnum(IntEnum):
    """An enumeration that keeps unknown numbers, as members with an empty name."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int):
            return None
        unknown = int.__new__(cls, value)
        unknown._value_ = value
        unknown._name_ = ""
        return unknown

    def __repr__(self) -> str:
        return super().__repr__() if self.name else f"{type(self).__name__}({int(self)})"

    def __str__(self) -> str:
        return self.name or str(int(self))
