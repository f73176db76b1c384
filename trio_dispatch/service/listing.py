"""What a list asks for: filters, order, and pages.  Nothing here does I/O or reads a clock.

Theory of operation.  The pages of a list are a *walk*.  A walk goes over what was there when its
first page was read, in the order of that moment; what is deleted meanwhile, or no longer passes the
filter, is left out, and what is on a page is on it with its present content.  So no dispatch comes
twice, and none is skipped that was there throughout, also when the list is sorted by the update
time, which is exactly what moves while dispatches are being updated.

Every change of a store has a number, one more than that of the change before.  The token of a page
says where the page ended (the sort key and id of its last dispatch) and the number of the last
change before the first page: the walk's *edge*.  The key by which a dispatch is sorted is the one
that it had at the edge.  A dispatch that has not been changed since still has it; of one that has,
the store remembers the former keys for the last `REMEMBERED` changes.  A walk during which more
changes happen goes on as if it had begun later: a dispatch that moved in the meantime may then
come twice or be skipped, as in any other keyset pagination.  By the create time, which does not
move, the promise has no such limit.

A token has all of this and the filter, so that it is valid for ever and the service need not
remember it.  It is no secret and gives no rights.
"""

from __future__ import annotations

import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from ..api import wire
from ..api.codec import WIRE, time_to_nanos
from ..api.wire import Interval
from ..protobuf.codec import DecodeError
from .errors import InvalidRequestError
from .row import MAX_ID, Row, check_moment, target_text

__all__ = ["REMEMBERED", "Page", "Query", "SortKey", "Span", "Where", "cut_page", "read_query"]

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
# Less than the 4 MiB that gRPC clients take in one message unless told otherwise.
MAX_PAGE_BYTES = 2 * 1024 * 1024
# What one list may name; more would be more than a database takes in one statement.
MAX_IDS = 10_000
MAX_TARGETS = 1_000
MAX_QUERIES = 100
REMEMBERED = 100_000
"""For so many changes a store remembers the former sort keys of what was changed."""

_T = TypeVar("_T")


class SortKey(Enum):
    """By what a list is sorted: a field of `Row`."""

    STARTS = "starts"
    CREATED = "created"
    UPDATED = "updated"


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open span of time; a bound that is None does not bound."""

    low: int | None = None
    high: int | None = None

    def holds(self, moment: int | None) -> bool:
        """Whether a moment is in it.  None stands for a moment that never comes."""
        if moment is None:
            return self.high is None
        return (self.low is None or self.low <= moment) and (
            self.high is None or moment < self.high
        )


@dataclass(frozen=True, slots=True)
class Where:
    """Which dispatches a list is to have.  What is None does not matter.

    Attributes:
      targets: Any of these, as `target_text` has them.
      asked_ids: Any of these ids, or a type with any of `asked_types` in it; None if neither
        matters.
    """

    targets: frozenset[str] | None = None
    active: bool | None = None
    dry_run: bool | None = None
    recurring: bool | None = None
    starts: Span | None = None
    ends: Span | None = None
    updated: Span | None = None
    ids: frozenset[int] | None = None
    asked_ids: frozenset[int] | None = None
    asked_types: tuple[str, ...] = ()

    def passes(self, row: Row) -> bool:
        """Whether the list is to have a dispatch."""
        return (
            (self.active is None or self.active == row.active)
            and (self.dry_run is None or self.dry_run == row.dry_run)
            and (self.recurring is None or self.recurring == row.recurring)
            and (self.targets is None or row.target in self.targets)
            and (self.starts is None or self.starts.holds(row.starts))
            and (self.ends is None or self.ends.holds(row.ends))
            and (self.updated is None or self.updated.holds(row.updated))
            and (self.ids is None or row.id in self.ids)
            and self._answers(row)
        )

    def _answers(self, row: Row) -> bool:
        if self.asked_ids is None:
            return True
        return row.id in self.asked_ids or any(text in row.type for text in self.asked_types)


@dataclass(frozen=True, slots=True)
class Query:
    """One page that is asked for.

    Attributes:
      filter: The filter as it was sent, for the token.
      after: The sort key and id after which the page begins; None for the first page.
      edge: The number of the last change before the first page; None for the first page.
    """

    microgrid_id: int
    where: Where = Where()
    filter: bytes = b""
    key: SortKey = SortKey.CREATED
    descending: bool = True
    size: int = DEFAULT_PAGE_SIZE
    after: tuple[int, int] | None = None
    edge: int | None = None

    def edge_at(self, changes: int) -> int:
        """The walk's edge, for a store in which there have been so many changes."""
        return changes if self.edge is None else max(self.edge, changes - REMEMBERED)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list.

    Attributes:
      messages: The bytes of its `Dispatch` messages, in order.
      total: How many dispatches of the microgrid pass the filter now.
      next_token: What asks for the next page; None if this is the last one.
    """

    messages: list[bytes]
    total: int
    next_token: str | None


def cut_page(
    candidates: Iterable[tuple[int, int, bytes]], query: Query, edge: int
) -> tuple[list[bytes], str | None]:
    """The messages of a page and the token of the next one.

    A page ends when it has as many dispatches as were asked for, or as many bytes as a message
    should have; it has one at least.

    Args:
      candidates: Sort key, id and message of all that follows `query.after`, in order.
    """
    messages: list[bytes] = []
    size = 0
    last = (0, 0)
    for key, id_, message in candidates:
        size += len(message)
        if messages and (len(messages) == query.size or size > MAX_PAGE_BYTES):
            return messages, _token(replace(query, after=last, edge=edge))
        messages.append(message)
        last = (key, id_)
    return messages, None


# Requests.


def read_query(request: wire.ListMicrogridDispatchesRequest) -> Query:
    """What a request asks for.

    With a page token the filter and order are those of the first page.  They need not be sent
    again, but if they are, they have to be the same.

    Raises:
      InvalidRequestError: it makes no sense.
    """
    key, descending = _order(request.sort_options)
    filter_bytes = WIRE.encode(request.filter or wire.DispatchFilter(), wire.DispatchFilter)
    params = request.pagination_params
    if params is not None and params.page_token:
        query = _read_token(params.page_token)
        if query.microgrid_id != request.microgrid_id:
            raise InvalidRequestError(_TOKEN, "is that of another microgrid")
        if filter_bytes and filter_bytes != query.filter:
            raise InvalidRequestError(_TOKEN, "is that of a list with another filter")
        if _says_something(request.sort_options) and (key, descending) != (
            query.key,
            query.descending,
        ):
            raise InvalidRequestError(_TOKEN, "is that of a list in another order")
        return query
    size = params.page_size if params is not None else None
    return Query(
        microgrid_id=request.microgrid_id,
        where=_where(request.filter),
        filter=filter_bytes,
        key=key,
        descending=descending,
        size=min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE),
    )


_SORT_KEYS = {
    wire.SortField.UNSPECIFIED: SortKey.CREATED,
    wire.SortField.START_TIME: SortKey.STARTS,
    wire.SortField.CREATE_TIME: SortKey.CREATED,
    wire.SortField.LAST_UPDATE_TIME: SortKey.UPDATED,
}


def _says_something(options: wire.SortOptions | None) -> bool:
    return options is not None and bool(options.sort_field or options.sort_order)


def _order(options: wire.SortOptions | None) -> tuple[SortKey, bool]:
    """The sort key, and whether the order is descending, as it is unless ascending is asked for."""
    if options is None:
        return SortKey.CREATED, True
    key = _SORT_KEYS.get(options.sort_field)
    if key is None:
        raise InvalidRequestError(
            "sort_options.sort_field", f"{int(options.sort_field)} is no field"
        )
    if not 0 <= options.sort_order <= wire.SortOrder.DESCENDING:
        raise InvalidRequestError(
            "sort_options.sort_order", f"{int(options.sort_order)} is no order"
        )
    return key, options.sort_order != wire.SortOrder.ASCENDING


def _where(message: wire.DispatchFilter | None) -> Where:
    if message is None:
        return Where()
    _check_length(message.dispatch_ids, MAX_IDS, "filter.dispatch_ids")
    _check_length(message.targets, MAX_TARGETS, "filter.targets")
    _check_length(message.queries, MAX_QUERIES, "filter.queries")
    asked_ids, asked_types = _asked(message.queries)
    return Where(
        targets=frozenset(map(target_text, message.targets)) or None,
        active=message.is_active,
        dry_run=message.is_dry_run,
        recurring=message.is_recurring,
        starts=_span(message.start_time_interval),
        ends=_span(message.end_time_interval),
        updated=_span(message.update_time_interval),
        ids=frozenset(message.dispatch_ids) or None,
        asked_ids=asked_ids,
        asked_types=asked_types,
    )


def _check_length(values: list[_T], most: int, field: str) -> None:
    if len(values) > most:
        raise InvalidRequestError(field, f"must be at most {most}, not {len(values)}")


def _asked(queries: list[str]) -> tuple[frozenset[int] | None, tuple[str, ...]]:
    """The ids and the parts of types that the queries ask for."""
    if not queries:
        return None, ()
    ids: set[int] = set()
    types: list[str] = []
    for query in queries:
        number = query[1:]
        if query.startswith("#") and number.isascii() and number.isdigit():
            # What is longer than any id is none; int() would take its time to find out.
            if len(number.lstrip("0")) <= 20 and (id_ := int(number)) <= MAX_ID:
                ids.add(id_)
        else:
            types.append(query)
    return frozenset(ids), tuple(types)


def _span(interval: Interval | None) -> Span | None:
    if interval is None:
        return None
    low, high = interval.start_time, interval.end_time
    return Span(
        None if low is None else time_to_nanos(low), None if high is None else time_to_nanos(high)
    )


# Tokens: base64 of a checksum and JSON.

_TOKEN = "pagination_params.page_token"  # noqa: S105
_VERSION = 1
_MAX_TOKEN = 1_000_000


def _token(query: Query) -> str:
    assert query.after is not None
    content = [
        _VERSION,
        query.microgrid_id,
        query.key.value,
        query.descending,
        query.size,
        query.edge,
        *query.after,
        query.filter.hex(),
    ]
    body = json.dumps(content, separators=(",", ":")).encode()
    return urlsafe_b64encode(zlib.crc32(body).to_bytes(4, "big") + body).decode().rstrip("=")


def _read_token(token: str) -> Query:
    try:
        return _query_of(_token_content(token))
    except (ValueError, RecursionError) as exc:
        raise InvalidRequestError(_TOKEN, "is not one that a list of this service gave") from exc


def _token_content(token: str) -> Any:
    """
    Raises:
      ValueError: it was never made by `_token`.
    """
    if len(token) > _MAX_TOKEN:
        raise ValueError("too long")
    raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    checksum, body = raw[:4], raw[4:]
    if zlib.crc32(body).to_bytes(4, "big") != checksum:
        raise ValueError("altered")
    return json.loads(body)


def _query_of(content: Any) -> Query:
    """
    Raises:
      ValueError: it was never made by `_token`.
    """
    match content:
        case [
            1,
            int(microgrid_id),
            str(key),
            bool(descending),
            int(size),
            int(edge),
            int(last_key),
            int(last_id),
            str(filter_hex),
        ]:
            pass
        case _:
            raise ValueError("of another form")
    filter_bytes = bytes.fromhex(filter_hex)
    try:
        message = WIRE.decode(filter_bytes, wire.DispatchFilter)
    except DecodeError as exc:
        raise ValueError("with another filter") from exc
    if not 1 <= size <= MAX_PAGE_SIZE or not 0 <= edge < 1 << 63 or not 0 <= last_id <= MAX_ID:
        raise ValueError("out of range")
    return Query(
        microgrid_id=microgrid_id,
        where=_where(message),
        filter=filter_bytes,
        key=SortKey(key),
        descending=descending,
        size=size,
        after=(check_moment(last_key), last_id),
        edge=edge,
    )
