"""Requests about runs and changes: rules, filters, page tokens.  No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, TypeVar

from ..api import runs_wire
from ..api.codec import WIRE
from ..api.dispatchers import decode_status, encode_status
from ..api.runs import decode_report
from ..api.wire import PaginationParams
from ..grpc import DecodeError
from ..model.runs import RunReport
from ..model.validation import check_name
from .errors import InvalidRequestError
from .listing import MAX_FILTER_BYTES, time_range
from .rules import check_count, check_text
from .store.logs import ChangeFilter, LogQuery, RunFilter
from .store.queries import MAX_PAGE_SIZE
from .store.rows import check_time
from .store.runs import Delivery
from .tokens import TOKEN_FIELD, decode_token, encode_token

__all__ = [
    "MAX_REPORTS",
    "MAX_VALUES",
    "change_token",
    "read_change_query",
    "read_delivery",
    "read_run_query",
    "read_status",
    "run_token",
]

MAX_REPORTS: Final = 1000
MAX_VALUES: Final = 100
"""Each part of a filter has at most this many values: a list reads an index for each."""

_DEFAULT_PAGE_SIZE: Final = 100
_MAX_COUNT: Final = 1 << 63

_F = TypeVar("_F", RunFilter, ChangeFilter)


def read_delivery(request: runs_wire.ReportRunsRequest, *, now: int) -> Delivery:
    """Return the reports of a request that is received at `now`.

    Raises:
      InvalidRequestError: a field is invalid.
    """
    _check_name("dispatcher", request.dispatcher)
    _check_name("reporter", request.reporter)
    _check_name("version", request.version, required=False)
    if request.lost >= _MAX_COUNT:
        raise InvalidRequestError("lost", "must be below 2**63")
    check_count(request.reports, MAX_REPORTS, "reports")
    reports: list[RunReport] = []
    # The codec of the service leaves them as bytes, see `calls.CODEC`.
    for number, data in enumerate(request.reports):
        assert isinstance(data, bytes)
        try:
            report = decode_report(data)
        except DecodeError as exc:
            raise InvalidRequestError(f"reports[{number}]", f"is invalid: {exc}") from exc
        check_text(report.type, f"reports[{number}].type")
        if reports and report.sequence <= reports[-1].sequence:
            raise InvalidRequestError(
                f"reports[{number}].sequence",
                f"must be above that of the report before, but {report.sequence} follows "
                f"{reports[-1].sequence}",
            )
        reports.append(report)
    return Delivery(
        microgrid_id=request.microgrid_id,
        dispatcher=request.dispatcher,
        reporter=request.reporter,
        reports=reports,
        lost=request.lost,
        version=request.version,
        now=now,
    )


def read_status(request: runs_wire.ReportRunsRequest) -> bytes | None:
    """Return the encoded status of a request, None if it has none.

    Raises:
      InvalidRequestError: it is invalid.
    """
    data: object = request.status
    if data is None:
        return None
    # The codec of the service leaves it as bytes, see `calls.CODEC`.
    assert isinstance(data, bytes)
    try:
        # As it is stored: a message may have unknown fields of any size.
        return encode_status(decode_status(data))
    except DecodeError as exc:
        raise InvalidRequestError("status", f"is invalid: {exc}") from exc


def _check_name(field: str, name: str, *, required: bool = True) -> None:
    try:
        check_name(field, name, required=required)
    except ValueError as exc:
        raise InvalidRequestError(field, str(exc).removeprefix(f"{field} ")) from None


# Lists.

_RUNS: Final = "runs 1"
_CHANGES: Final = "changes 1"


def read_run_query(request: runs_wire.ListRunsRequest) -> LogQuery[RunFilter]:
    """Return what a request for runs asks for.

    With a page token, the filter is that of the first page.

    Raises:
      InvalidRequestError: a field is invalid.
    """
    message = WIRE.encode(request.filter or runs_wire.RunFilter(), runs_wire.RunFilter)
    return _query(request.microgrid_id, message, request.pagination_params, _RUNS, _run_filter)


def read_change_query(request: runs_wire.ListChangesRequest) -> LogQuery[ChangeFilter]:
    """Return what a request for changes asks for, as `read_run_query` does for runs."""
    message = WIRE.encode(request.filter or runs_wire.ChangeFilter(), runs_wire.ChangeFilter)
    return _query(
        request.microgrid_id, message, request.pagination_params, _CHANGES, _change_filter
    )


def run_token(query: LogQuery[RunFilter]) -> str:
    """Return the token of a page of runs that follows another one."""
    return _token(_RUNS, query)


def change_token(query: LogQuery[ChangeFilter]) -> str:
    """Return the token of a page of changes that follows another one."""
    return _token(_CHANGES, query)


def _run_filter(message: bytes) -> RunFilter:
    wanted = WIRE.decode(message, runs_wire.RunFilter)
    for name in ("dispatch_ids", "types", "states", "component_ids", "dispatchers"):
        check_count(getattr(wanted, name), MAX_VALUES, f"filter.{name}")
    _check_texts(wanted.types, "filter.types")
    _check_texts(wanted.dispatchers, "filter.dispatchers")
    return RunFilter(
        ids=frozenset(wanted.dispatch_ids),
        components=frozenset(wanted.component_ids),
        states=frozenset(map(int, wanted.states)),
        types=frozenset(wanted.types),
        dispatchers=frozenset(wanted.dispatchers),
        within=time_range(wanted.start_time_interval),
    )


def _change_filter(message: bytes) -> ChangeFilter:
    wanted = WIRE.decode(message, runs_wire.ChangeFilter)
    for name in ("dispatch_ids", "key_names"):
        check_count(getattr(wanted, name), MAX_VALUES, f"filter.{name}")
    return ChangeFilter(
        ids=frozenset(wanted.dispatch_ids),
        key_names=frozenset(wanted.key_names),
        within=time_range(wanted.time_interval),
    )


def _check_texts(texts: Collection[str], field: str) -> None:
    for text in texts:
        check_text(text, field)


def _query(
    microgrid_id: int,
    message: bytes,
    params: PaginationParams | None,
    kind: str,
    read: Callable[[bytes], _F],
) -> LogQuery[_F]:
    if len(message) > MAX_FILTER_BYTES:
        raise InvalidRequestError(
            "filter", f"must have at most {MAX_FILTER_BYTES} bytes, not {len(message)}"
        )
    if params is None or not params.page_token:
        size = min((params and params.page_size) or _DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        return LogQuery(microgrid_id, read(message), message, size)
    try:
        query = _query_of(decode_token(params.page_token), kind, read)
    except (ValueError, DecodeError) as exc:
        raise InvalidRequestError(TOKEN_FIELD, "is not a page token of this list") from exc
    if query.microgrid_id != microgrid_id:
        raise InvalidRequestError(TOKEN_FIELD, "belongs to another microgrid")
    if message and message != query.filter_message:
        raise InvalidRequestError(TOKEN_FIELD, "belongs to a list with another filter")
    return query


def _token(kind: str, query: LogQuery[_F]) -> str:
    after = query.after
    assert after is not None
    time, number = after
    return encode_token(
        [kind, query.microgrid_id, query.page_size, time, number, query.filter_message.hex()]
    )


def _query_of(content: object, kind: str, read: Callable[[bytes], _F]) -> LogQuery[_F]:
    match content:
        case [str(found), int(microgrid_id), int(size), int(time), int(number), str(filter_hex)]:
            pass
        case _:
            raise ValueError("another form")
    if found != kind or not 1 <= size <= MAX_PAGE_SIZE or not 0 <= number < _MAX_COUNT:
        raise ValueError("another list")
    message = bytes.fromhex(filter_hex)
    return LogQuery(microgrid_id, read(message), message, size, (check_time(time), number))
