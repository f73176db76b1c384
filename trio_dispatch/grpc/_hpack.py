"""HPACK for headers that are the same with every call.

What a block of headers means depends on a table that both sides keep, and a block may add to it.
One that has added nothing will mean the same, and add nothing again, for as long as nothing else
changes the table: it need not be worked out anew.  The requests and responses of gRPC are like
that, from the second on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar, cast

import hpack
from hpack.table import HeaderTable

K = TypeVar("K")
V = TypeVar("V")

# Of these there are few; what there are many of is not worth the memory.
_MOST_BLOCKS: Final = 32
_LONGEST_BLOCK: Final = 512


def passing_header(name: str, value: str) -> tuple[str, str]:
    """A header whose value does not come again, and would only push others out of the table.

    Best put last: what stands before it is remembered.
    """
    return cast("tuple[str, str]", hpack.NeverIndexedHeaderTuple(name, value))


class _Table(HeaderTable):
    """A table whose `version` tells whether it is still what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.version = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.version += 1
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        return self._maxsize

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        self.version += 1
        untold = self.resized
        HeaderTable.maxsize.fset(self, size)  # type: ignore[attr-defined]
        # To be given the same size once more does not mean that the other side knows it.
        self.resized = self.resized or untold


class _Memory(Generic[K, V]):
    """Remembers results until the table changes."""

    def __init__(self, table: _Table) -> None:
        self._table = table
        self._version = table.version
        self._results: dict[K, V] = {}

    def recall(self, key: K) -> V | None:
        if self._version != self._table.version:
            self._version = self._table.version
            self._results.clear()
        return self._results.get(key)

    def keep(self, key: K, result: V) -> None:
        """Remember the result, unless the table has changed since `recall`."""
        if self._version == self._table.version:
            if len(self._results) >= _MOST_BLOCKS:
                self._results.clear()
            self._results[key] = result


class Encoder(hpack.Encoder):
    """Encodes as hpack does."""

    def __init__(self) -> None:
        super().__init__()
        self.header_table: _Table = _Table()
        self._memory: _Memory[tuple[Any, ...], bytes] = _Memory(self.header_table)

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:
        headers = tuple(headers)
        if self.header_table.resized:
            # The block begins with the other side being told.
            return super().encode(headers, huffman)
        count = len(headers)
        for index, header in enumerate(headers):
            if isinstance(header, hpack.NeverIndexedHeaderTuple):
                count = index
                break
        lasting = headers[:count]
        block = self._memory.recall(lasting)
        if block is None:
            block = super().encode(lasting, huffman)
            if len(block) <= _LONGEST_BLOCK:
                self._memory.keep(lasting, block)
        return block if count == len(headers) else block + super().encode(headers[count:], huffman)


class Decoder(hpack.Decoder):
    """Decodes as hpack does."""

    def __init__(self) -> None:
        super().__init__()
        self.header_table: _Table = _Table()
        self._memory: _Memory[bytes, tuple[hpack.HeaderTuple, ...]] = _Memory(self.header_table)

    def decode(self, data: bytes, raw: bool = False) -> Iterable[hpack.HeaderTuple]:
        if not raw:
            return super().decode(data, raw)
        headers = self._memory.recall(data)
        if headers is None:
            headers = tuple(super().decode(data, raw))
            if len(data) <= _LONGEST_BLOCK:
                self._memory.keep(data, headers)
        return headers
