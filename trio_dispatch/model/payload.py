"""The payload of a dispatch: JSON that nobody can change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_NAN = math.nan  # One object for all, since containers take an object as equal to itself.


class Payload(Mapping[str, Any]):
    """A deeply read-only mapping of JSON values, compared by value with any other mapping.

    Numbers are floats, as in the API; lists are tuples that equal lists of equal content.
    """

    __slots__ = ("_data",)

    _data: dict[str, Any]

    def __init__(self, content: Mapping[str, Any] = {}) -> None:
        """
        Raises:
          ValueError: something in it is not JSON; the message names its place.
        """
        self._data = _frozen_items(content, "payload")

    @classmethod
    def _of(cls, fields: dict[str, Any]) -> Payload:
        """The payload with this content, of values that are frozen already."""
        self = cls.__new__(cls)
        self._data = fields
        return self

    def __getitem__(self, key: str) -> Any:
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

    def __reduce__(self) -> tuple[Any, ...]:
        return Payload, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """A plain copy, of dicts and lists, to change or to dump as JSON."""
        return {key: _thawed(value) for key, value in self._data.items()}


class FrozenList(tuple[Any, ...]):
    """A list that is frozen, as are its items."""

    __slots__ = ()

    @classmethod
    def _of(cls, values: Iterable[Any]) -> FrozenList:
        return cls(values)

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, tuple(other) if isinstance(other, list) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


def freeze_number(number: float) -> float:
    """The number; the same object for every NaN."""
    return _NAN if number != number else number  # noqa: PLR0124


def _frozen(value: Any, where: str) -> Any:
    match value:
        case None | bool() | str():
            return value
        case int() | float():
            try:
                number = float(value)
            except OverflowError:
                raise ValueError(f"{where}: {value} is too large for a float") from None
            return freeze_number(number)
        case Payload():
            return value
        case Mapping():
            return Payload._of(_frozen_items(value, where))
        case Sequence() if not isinstance(value, bytes | bytearray):
            return FrozenList(_frozen(item, f"{where}[{i}]") for i, item in enumerate(value))
    raise ValueError(
        f"{where}: {value!r} is not JSON; use None, bool, numbers, str, lists and mappings"
    )


def _frozen_items(content: Mapping[Any, Any], where: str) -> dict[str, Any]:
    return {_key(key, where): _frozen(value, f"{where}[{key!r}]") for key, value in content.items()}


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise ValueError(f"{where}: the key {key!r} is not a str")
    return key


def _thawed(value: Any) -> Any:
    if isinstance(value, Payload):
        return value.to_dict()
    return [_thawed(item) for item in value] if isinstance(value, FrozenList) else value


EMPTY = Payload()
