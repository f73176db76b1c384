"""List requests of the API: what they ask of the store, and page tokens.  No I/O, no clock.

A page token holds the query for the next page: where the page before ended, the snapshot of the
walk, and the filter.  So it is valid for ever, and the service need not remember it.  It is not a
secret and gives no rights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..api import wire
from ..api.codec import WIRE, time_to_nanos
from ..api.wire import Interval
from ..grpc import DecodeError
from ..model.validation import MAX_ID
from .errors import InvalidRequestError
from .rules import check_count, check_text
from .store.queries import EVERYTHING, MAX_PAGE_SIZE, Filter, Query, SortKey, TimeRange
from .store.rows import check_time, target_text
from .tokens import TOKEN_FIELD, decode_token, encode_token

__all__ = ["MAX_FILTER_BYTES", "encode_page_token", "read_query", "time_range"]

DEFAULT_PAGE_SIZE: Final = 100

# Limits of one filter; they also keep a statement within what a database accepts.
MAX_IDS: Final = 10_000
MAX_TARGETS: Final = 1_000
MAX_QUERIES: Final = 100
MAX_FILTER_BYTES: Final = 128 * 1024


def read_query(request: wire.ListMicrogridDispatchesRequest) -> Query:
    """Return what a list request asks for.

    With a page token, filter and order are those of the first page.  They need not be sent again;
    if they are, they must be the same.

    Raises:
      InvalidRequestError: a field is invalid.
    """
    sort_key, descending = _order(request.sort_options)
    filter_message = (
        b"" if request.filter is None else WIRE.encode(request.filter, wire.DispatchFilter)
    )
    params = request.pagination_params
    if params is not None and params.page_token:
        query = _decode_page_token(params.page_token)
        if query.microgrid_id != request.microgrid_id:
            raise InvalidRequestError(TOKEN_FIELD, "belongs to another microgrid")
        if filter_message and filter_message != query.filter_message:
            raise InvalidRequestError(TOKEN_FIELD, "belongs to a list with another filter")
        if _is_set(request.sort_options) and (sort_key, descending) != (
            query.sort_key,
            query.descending,
        ):
            raise InvalidRequestError(TOKEN_FIELD, "belongs to a list in another order")
        return query
    size = params.page_size if params is not None else None
    return Query(
        microgrid_id=request.microgrid_id,
        filter=_filter(request.filter, len(filter_message)),
        filter_message=filter_message,
        sort_key=sort_key,
        descending=descending,
        page_size=min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE),
    )


_SORT_KEYS = {
    wire.SortField.UNSPECIFIED: SortKey.CREATE_TIME,
    wire.SortField.START_TIME: SortKey.START_TIME,
    wire.SortField.CREATE_TIME: SortKey.CREATE_TIME,
    wire.SortField.LAST_UPDATE_TIME: SortKey.UPDATE_TIME,
}


def _is_set(options: wire.SortOptions | None) -> bool:
    return options is not None and bool(options.sort_field or options.sort_order)


def _order(options: wire.SortOptions | None) -> tuple[SortKey, bool]:
    """Return the sort key, and whether the order is descending, which is the default."""
    if options is None:
        return SortKey.CREATE_TIME, True
    key = _SORT_KEYS.get(options.sort_field)
    if key is None:
        number = int(options.sort_field)
        raise InvalidRequestError("sort_options.sort_field", f"has the unknown value {number}")
    if not 0 <= options.sort_order <= wire.SortOrder.DESCENDING:
        number = int(options.sort_order)
        raise InvalidRequestError("sort_options.sort_order", f"has the unknown value {number}")
    return key, options.sort_order != wire.SortOrder.ASCENDING


def _filter(message: wire.DispatchFilter | None, size: int) -> Filter:
    if message is None:
        return EVERYTHING
    if size > MAX_FILTER_BYTES:
        raise InvalidRequestError(
            "filter", f"must have at most {MAX_FILTER_BYTES} bytes, not {size}"
        )
    check_count(message.dispatch_ids, MAX_IDS, "filter.dispatch_ids")
    check_count(message.targets, MAX_TARGETS, "filter.targets")
    check_count(message.queries, MAX_QUERIES, "filter.queries")
    queried_ids, queried_types = _parsed(message.queries)
    return Filter(
        targets=frozenset(map(target_text, message.targets)) or None,
        active=message.is_active,
        dry_run=message.is_dry_run,
        recurring=message.is_recurring,
        start_time=time_range(message.start_time_interval),
        end_time=time_range(message.end_time_interval),
        update_time=time_range(message.update_time_interval),
        ids=frozenset(message.dispatch_ids) or None,
        queried_ids=queried_ids,
        queried_types=queried_types,
    )


def _parsed(queries: Sequence[str]) -> tuple[frozenset[int] | None, tuple[str, ...]]:
    """Return the ids and the parts of types that the queries ask for."""
    if not queries:
        return None, ()
    ids: set[int] = set()
    types: list[str] = []
    for query in queries:
        check_text(query, "filter.queries")
        number = query[1:]
        if query.startswith("#") and number.isascii() and number.isdigit():
            # A longer number is not an id; int() would take long to find out.
            if len(number.lstrip("0")) <= 20 and (id_ := int(number)) <= MAX_ID:
                ids.add(id_)
        else:
            types.append(query)
    return frozenset(ids), tuple(types)


def time_range(interval: Interval | None) -> TimeRange | None:
    """Convert an interval of the API."""
    if interval is None:
        return None
    start, end = interval.start_time, interval.end_time
    return TimeRange(
        None if start is None else time_to_nanos(start), None if end is None else time_to_nanos(end)
    )


# Page tokens.

_VERSION: Final = 2


def encode_page_token(query: Query) -> str:
    """Return the token of a page that follows another one."""
    assert query.after is not None
    content: list[object] = [
        _VERSION,
        query.microgrid_id,
        query.sort_key.value,
        query.descending,
        query.page_size,
        query.snapshot,
        query.total,
        *query.after,
        query.filter_message.hex(),
    ]
    return encode_token(content)


def _decode_page_token(token: str) -> Query:
    try:
        return _query_of(decode_token(token))
    except ValueError as exc:
        raise InvalidRequestError(TOKEN_FIELD, "is not a page token of this service") from exc


def _query_of(content: object) -> Query:
    """Return the query in a token.

    Raises:
      ValueError: `encode_page_token` never made it.
    """
    match content:
        case [
            2,
            int(microgrid_id),
            str(key),
            bool(descending),
            int(size),
            int(snapshot),
            int(total),
            int(last_key),
            int(last_id),
            str(filter_hex),
        ]:
            pass
        case _:
            raise ValueError("another form")
    filter_message = bytes.fromhex(filter_hex)
    try:
        message = WIRE.decode(filter_message, wire.DispatchFilter)
    except DecodeError as exc:
        raise ValueError("another filter") from exc
    numbers = (snapshot, 63), (total, 32), (last_id, 64)
    if not 1 <= size <= MAX_PAGE_SIZE or any(not 0 <= n < 1 << bits for n, bits in numbers):
        raise ValueError("a number out of range")
    return Query(
        microgrid_id=microgrid_id,
        filter=_filter(message, len(filter_message)),
        filter_message=filter_message,
        sort_key=SortKey(key),
        descending=descending,
        page_size=size,
        after=(check_time(last_key), last_id),
        snapshot=snapshot,
        total=total,
    )
