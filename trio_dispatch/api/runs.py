"""Runs, reports and changes: conversion between the API's bytes and the model.

What cannot be decoded becomes an `Undecodable` in its place, so that it does not spoil the page
that it came in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from ..model.dispatch import Dispatch
from ..model.payload import EMPTY, Payload
from ..model.runs import (
    DispatchChange,
    ReportedRun,
    ReportedState,
    ReportKind,
    RunReport,
    StopReason,
)
from ..model.undecodable import Undecodable
from ..protobuf.codec import DecodeError, MessageCodec
from . import runs_wire, wire
from .codec import WIRE, message_field, payload_to_wire
from .decoding import BUILDERS
from .replies import dispatch_or_undecodable
from .wire import PaginationInfo, Timestamp

__all__ = [
    "LogPage",
    "decode_change_page",
    "decode_report",
    "decode_run",
    "decode_run_page",
    "decode_streamed_run",
    "encode_change",
    "encode_report",
    "encode_run",
    "report_to_wire",
    "state_to_wire",
]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LogPage(Generic[_T]):
    """A page of runs or changes; iterate over it for its entries.

    Attributes:
      entries: The entries of the page, the latest first.
      undecodable: The entries of the page that could not be decoded.
      next_token: The token of the next page; empty on the last page.
    """

    entries: tuple[_T, ...]
    undecodable: tuple[Undecodable, ...] = ()
    next_token: str = ""

    def __iter__(self) -> Iterator[_T]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


# From bytes.


def decode_report(data: bytes) -> RunReport:
    """Decode the bytes of a `RunReport` message.

    A kind that a later version of the API may have counts as `ReportKind.NOTED`, and such a reason
    as none.

    Raises:
      DecodeError: the bytes are invalid, a required field is missing, or a field is too large.
    """
    report = _decode(data, runs_wire.RunReport)
    assert isinstance(report, RunReport)
    return report


def decode_run(data: bytes) -> ReportedRun:
    """Decode the bytes of a `Run` message.

    Raises:
      DecodeError: the bytes are invalid, a required field is missing, or the state is unknown.
    """
    run = _decode(data, runs_wire.Run)
    assert isinstance(run, ReportedRun)
    return run


def decode_run_page(data: bytes) -> LogPage[ReportedRun]:
    """Decode the reply to a request for runs.

    Raises:
      DecodeError: the bytes are not a `ListRunsResponse`.
    """
    page = _REPLIES.decode(data, runs_wire.ListRunsResponse)
    return _page(page.runs, page.pagination_info, ReportedRun)


def decode_streamed_run(data: bytes) -> ReportedRun | Undecodable:
    """Decode a message of a stream of runs.

    Raises:
      DecodeError: the bytes are not a `StreamRunsResponse`.
    """
    run = _REPLIES.decode(data, runs_wire.StreamRunsResponse).run
    return run if isinstance(run, ReportedRun | Undecodable) else Undecodable(None, "it has no run")


def decode_change_page(data: bytes) -> LogPage[DispatchChange]:
    """Decode the reply to a request for changes.

    Raises:
      DecodeError: the bytes are not a `ListChangesResponse`.
    """
    page = _REPLIES.decode(data, runs_wire.ListChangesResponse)
    return _page(page.changes, page.pagination_info, DispatchChange)


def _page(found: Sequence[object], info: PaginationInfo | None, kind: type[_T]) -> LogPage[_T]:
    return LogPage(
        tuple(item for item in found if isinstance(item, kind)),
        tuple(item for item in found if isinstance(item, Undecodable)),
        "" if info is None else info.next_page_token or "",
    )


def _decode(data: bytes, message: type[object]) -> object:
    try:
        return _FIELDS.decode(data, message)
    except DecodeError:
        raise
    except ValueError as exc:
        raise DecodeError(str(exc)) from None


def _or_undecodable(message: type[object]) -> Callable[[bytes], object]:
    """Return a decoder of a message that has the id of a dispatch."""

    def decode(data: bytes) -> object:
        try:
            return _decode(data, message)
        except DecodeError as exc:
            return Undecodable(_id_of(data, message), str(exc))

    return decode


def _id_of(data: bytes, message: type[object]) -> int | None:
    try:
        id_: object = getattr(_IDS.decode(data, message), "dispatch_id", None)
    except DecodeError:
        return None
    return id_ if isinstance(id_, int) else None


def _required(moment: datetime | None, name: str) -> datetime:
    if moment is None:
        raise DecodeError(f"{name} is missing")
    return moment


def _report(
    *,
    sequence: int,
    dispatch_id: int,
    start_time: datetime | None,
    actor: str,
    component_id: int | None,
    kind: int,
    reason: int,
    time: datetime | None,
    update_time: datetime | None,
    type: str,
    is_dry_run: bool,
    until_time: datetime | None,
    attempt: int,
    error: str,
    details: Payload | None,
) -> RunReport:
    if not kind:
        raise DecodeError("kind is missing")
    known = ReportKind(kind) if kind in _KINDS else ReportKind.NOTED
    return RunReport(
        sequence=sequence,
        dispatch_id=dispatch_id,
        start_time=_required(start_time, "start_time"),
        kind=known,
        time=_required(time, "time"),
        update_time=_required(update_time, "update_time"),
        type=type,
        actor=actor,
        component=component_id,
        reason=_reason(reason) if known is ReportKind.STOPPED else None,
        dry_run=is_dry_run,
        until=until_time,
        attempt=attempt,
        error=error,
        details=details or EMPTY,
    )


def _run(
    *,
    dispatcher: str,
    dispatch_id: int,
    start_time: datetime | None,
    actor: str,
    component_id: int | None,
    type: str,
    is_dry_run: bool,
    state: int,
    reason: int,
    until_time: datetime | None,
    started_time: datetime | None,
    ended_time: datetime | None,
    update_time: datetime | None,
    attempts: int,
    error: str,
    details: Payload | None,
    report_time: datetime | None,
) -> ReportedRun:
    if state not in _STATES:
        raise DecodeError(f"state has the unknown value {int(state)}")
    return ReportedRun(
        dispatcher=dispatcher,
        dispatch_id=dispatch_id,
        start_time=_required(start_time, "start_time"),
        actor=actor,
        component=component_id,
        type=type,
        dry_run=is_dry_run,
        state=ReportedState(state),
        reason=_reason(reason),
        until=until_time,
        started_time=started_time,
        ended_time=ended_time,
        update_time=_required(update_time, "update_time"),
        attempts=attempts,
        error=error,
        details=details or EMPTY,
        report_time=_required(report_time, "report_time"),
    )


_KINDS = {kind.value for kind in ReportKind}
_STATES = {state.value for state in ReportedState}
_REASONS = {reason.value for reason in StopReason}


def _reason(number: int) -> StopReason | None:
    return StopReason(number) if number in _REASONS else None


def _change(
    sequence: int,
    time: datetime | None,
    event: int,
    dispatch_id: int,
    key_name: str,
    peer: str,
    old: Dispatch | Undecodable | None,
    new: Dispatch | Undecodable | None,
) -> DispatchChange:
    if old is None and new is None:
        raise DecodeError("it has neither an old nor a new content")
    return DispatchChange(sequence, _required(time, "time"), dispatch_id, key_name, peer, old, new)


_FIELDS = MessageCodec(
    decoders={wire.Dispatch: dispatch_or_undecodable},
    builders={
        **{message: build for message, build in BUILDERS.items() if message is not wire.Dispatch},
        runs_wire.RunReport: _report,
        runs_wire.Run: _run,
        runs_wire.Change: _change,
    },
)
_REPLIES = MessageCodec(
    decoders={
        runs_wire.Run: _or_undecodable(runs_wire.Run),
        runs_wire.Change: _or_undecodable(runs_wire.Change),
    },
)
# Of a message it reads only the id.
_IDS = MessageCodec(decoders={wire.Dispatch: bytes, wire.Struct: bytes, Timestamp: bytes})


# To bytes.


def report_to_wire(report: RunReport) -> runs_wire.RunReport:
    """Convert a report to a message."""
    return runs_wire.RunReport(
        sequence=report.sequence,
        dispatch_id=report.dispatch_id,
        start_time=report.start_time,
        actor=report.actor,
        component_id=report.component,
        kind=runs_wire.ReportKind(report.kind.value),
        reason=_reason_to_wire(report.reason),
        time=report.time,
        update_time=report.update_time,
        type=report.type,
        is_dry_run=report.dry_run,
        until_time=report.until,
        attempt=report.attempt,
        error=report.error,
        details=payload_to_wire(report.details) if report.details else None,
    )


def encode_report(report: RunReport) -> bytes:
    """Encode a report as the bytes of a `RunReport` message, to keep it."""
    return WIRE.encode(report_to_wire(report), runs_wire.RunReport)


def encode_run(run: ReportedRun) -> bytes:
    """Encode a run as the bytes of a `Run` message."""
    return WIRE.encode(
        runs_wire.Run(
            dispatcher=run.dispatcher,
            dispatch_id=run.dispatch_id,
            start_time=run.start_time,
            actor=run.actor,
            component_id=run.component,
            type=run.type,
            is_dry_run=run.dry_run,
            state=runs_wire.RunState(run.state.value),
            reason=_reason_to_wire(run.reason),
            until_time=run.until,
            started_time=run.started_time,
            ended_time=run.ended_time,
            update_time=run.update_time,
            attempts=run.attempts,
            error=run.error,
            details=payload_to_wire(run.details) if run.details else None,
            report_time=run.report_time,
        ),
        runs_wire.Run,
    )


def encode_change(
    *,
    sequence: int,
    time: datetime,
    event: wire.Event,
    dispatch_id: int,
    key_name: str,
    peer: str,
    old: bytes | None,
    new: bytes | None,
) -> bytes:
    """Encode a `Change` message.

    Args:
      old, new: The encoded dispatch before and after the change.
    """
    change = runs_wire.Change(
        sequence=sequence,
        time=time,
        event=event,
        dispatch_id=dispatch_id,
        key_name=key_name,
        peer=peer,
    )
    fields = [
        b"" if message is None else message_field(number, message)
        for number, message in ((7, old), (8, new))
    ]
    return b"".join((WIRE.encode(change, runs_wire.Change), *fields))


def _reason_to_wire(reason: StopReason | None) -> runs_wire.StopReason:
    return runs_wire.StopReason(0 if reason is None else reason.value)


def state_to_wire(state: ReportedState) -> runs_wire.RunState:
    """Convert the state of a run to a message's.

    Raises:
      ValueError: it is not a `ReportedState`.
    """
    return runs_wire.RunState(ReportedState(state).value)
