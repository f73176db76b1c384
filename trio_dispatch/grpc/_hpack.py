"""HPACK with a fast path for header blocks that repeat, and without a log of their content.

The headers of gRPC calls are mostly the same from the second call on.  A header block that leaves
the dynamic table as it was has the same meaning until another block changes the table, so its
encoding and decoding are remembered until then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final, TypeAlias, cast

import hpack
from hpack.table import HeaderTable

_Headers: TypeAlias = tuple[hpack.HeaderTuple, ...]

# A connection repeats few blocks, and they are short; others are not worth the memory.
_MAX_BLOCKS: Final = 32
_MAX_BLOCK_SIZE: Final = 512
_MAX_TABLE_SIZE: Final = 4096

# At DEBUG, hpack logs every header and every block: API keys and signatures among them.
for _name in ("hpack.hpack", "hpack.table"):
    logging.getLogger(_name).addFilter(lambda _record: False)


def never_indexed(name: str, value: str) -> tuple[str, str]:
    """A header that is kept out of the dynamic tables, here and in every intermediary.

    For secrets (RFC 7541, 7.1.3), and for values that change with every call.  Put such headers
    last: only those before the first one take the fast path.
    """
    return cast("tuple[str, str]", hpack.NeverIndexedHeaderTuple(name, value))


class Encoder(hpack.Encoder):
    """hpack's encoder with the fast path."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[tuple[Any, ...], bytes] = {}

    @property
    def header_table_size(self) -> int:
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        # The other side allows a size, but does not make this side keep so much.
        size = min(size, _MAX_TABLE_SIZE)
        # Given the same size again, hpack forgets that the other side has yet to be told.
        if size != self.header_table.maxsize:
            hpack.Encoder.header_table_size.fset(self, size)  # type: ignore[attr-defined]

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:
        headers = tuple(headers)
        indexed = headers
        for index, header in enumerate(headers):
            if isinstance(header, hpack.NeverIndexedHeaderTuple):
                indexed = headers[:index]
                break
        if self.header_table.resized:
            # The next block tells the other side.
            self._blocks.clear()
        block = self._blocks.get(indexed)
        if block is None:
            before = _state(self.header_table)
            block = super().encode(indexed, huffman)
            _remember(self._blocks, indexed, block, len(block), before, self.header_table)
        rest = headers[len(indexed) :]
        if not rest:
            return block
        if any(map(_is_indexed, rest)):
            self._blocks.clear()
        # To compress a value that is sent once takes longer than to send it.
        return block + super().encode(rest, huffman=False)


class Decoder(hpack.Decoder):
    """hpack's decoder with the fast path."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[bytes, _Headers] = {}

    def decode(self, data: bytes, raw: bool = False) -> Iterable[hpack.HeaderTuple]:
        if not raw:
            return super().decode(data, raw)
        headers = self._blocks.get(data)
        if headers is None:
            before = _state(self.header_table)
            headers = tuple(super().decode(data, raw))
            _remember(self._blocks, data, headers, len(data), before, self.header_table)
        return headers

    def remembered(self, data: bytes) -> _Headers | None:
        """The headers of a block that is remembered; None if it has to be decoded."""
        return self._blocks.get(data)


def _is_indexed(header: Any) -> bool:
    return not isinstance(header, hpack.NeverIndexedHeaderTuple)


def _state(table: HeaderTable) -> tuple[int, bool, tuple[Any, ...]]:
    return table.maxsize, table.resized, tuple(table.dynamic_entries)


def _remember(
    blocks: dict[Any, Any], key: Any, result: Any, size: int, before: object, table: HeaderTable
) -> None:
    """Remember a result, or forget all of them if it has changed the table."""
    changed = _state(table) != before
    if changed or len(blocks) >= _MAX_BLOCKS:
        blocks.clear()
    if not changed and size <= _MAX_BLOCK_SIZE:
        blocks[key] = result
