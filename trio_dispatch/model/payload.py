"""The payload of a dispatch: JSON that cannot be changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from .validation import check_text, shown

__all__ = ["EMPTY", "JSON", "FrozenList", "Payload", "PlainJSON", "freeze_number"]

JSON: TypeAlias = "bool | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
"""A JSON value.  In a payload every number is a float, every list a tuple, as read-only as the
payload itself."""

PlainJSON: TypeAlias = "bool | float | str | list[PlainJSON] | dict[str, PlainJSON] | None"
"""A JSON value made of dicts and lists, as ``json`` dumps and loads it."""

_NAN = math.nan  # One object for all, since containers take an object as equal to itself.


class Payload(Mapping[str, JSON]):
    """A deeply read-only mapping of JSON values, compared by value with any other mapping.

    Numbers are floats, as in the API; lists are tuples that equal lists of equal content.
    """

    __slots__ = ("_data",)

    _data: dict[str, JSON]

    def __init__(self, content: Mapping[str, object] = {}, name: str = "payload") -> None:
        """
        Args:
          content: Of None, bool, finite numbers, str, and lists and mappings of these.
          name: What errors call it.

        Raises:
          ValueError: something in it is not JSON; the message names its place.
        """
        if isinstance(content, Payload):
            self._data = content._data
            return
        if not isinstance(content, Mapping):
            raise ValueError(f"{name} {shown(content)} is not a mapping")
        try:
            self._data = _frozen_items(content, name)
        except RecursionError:
            raise ValueError(f"{name} is nested too deeply, or contains itself") from None

    @classmethod
    def unchecked(cls, fields: dict[str, JSON]) -> Payload:
        """Return the payload with this content, whose values are read-only already."""
        self = cls.__new__(cls)
        self._data = fields
        return self

    def __getitem__(self, key: str) -> JSON:
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Payload):
            return self._data == other._data
        return self._data == other if isinstance(other, dict) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._data.items()))

    def __repr__(self) -> str:
        return repr(self._data)

    def __reduce__(self) -> tuple[object, ...]:
        # Not through __init__: what arrived over the wire may have a NaN.
        return Payload.unchecked, (self._data,)

    def to_dict(self) -> dict[str, PlainJSON]:
        """Return a copy made of dicts and lists, to change or to dump as JSON."""
        return {key: _thawed(value) for key, value in self._data.items()}


class FrozenList(tuple[JSON, ...]):
    """A read-only list of JSON values."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, tuple(other) if isinstance(other, list) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


def freeze_number(number: float) -> float:
    """Return the number; the same object for every NaN."""
    return _NAN if number != number else number  # noqa: PLR0124


def _frozen(value: object, where: str) -> JSON:
    match value:
        case None | bool():
            return value
        case str():
            return check_text(f"{where}:", value)
        case int() | float():
            try:
                number = float(value)
            except OverflowError:
                raise ValueError(f"{where}: {shown(value)} is too large for a float") from None
            if not math.isfinite(number):
                raise ValueError(f"{where}: {number} is not JSON: numbers are finite")
            return number
        case Payload():
            return value
        case Mapping():
            return Payload.unchecked(_frozen_items(value, where))
        case Sequence() if not isinstance(value, bytes | bytearray):
            return FrozenList(_frozen(item, f"{where}[{i}]") for i, item in enumerate(value))
    raise ValueError(
        f"{where}: {shown(value)} is not JSON; use None, bool, numbers, str, lists and mappings"
    )


def _frozen_items(content: Mapping[Any, object], where: str) -> dict[str, JSON]:
    return {
        _key(key, where): _frozen(value, f"{where}[{shown(key)}]") for key, value in content.items()
    }


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise ValueError(f"{where}: the key {shown(key)} is not a str")
    return check_text(f"{where}: the key", key)


def _thawed(value: JSON) -> PlainJSON:
    match value:
        case Payload():
            return value.to_dict()
        case FrozenList():
            return [_thawed(item) for item in value]
        case None | bool() | float() | str():
            return value
    raise TypeError(value)  # a payload has nothing else


EMPTY = Payload()
