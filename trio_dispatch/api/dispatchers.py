"""Dispatchers and their status: conversion between the API's bytes and the model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ..model.dispatchers import ConnectionState, DispatcherInfo, DispatcherStatus
from ..protobuf.codec import DecodeError, MessageCodec
from . import runs_wire
from .codec import WIRE
from .decoding import BUILDERS

__all__ = [
    "decode_dispatchers",
    "decode_status",
    "encode_dispatchers",
    "encode_status",
    "status_to_wire",
]


def decode_dispatchers(data: bytes) -> list[DispatcherInfo]:
    """Decode the reply to a request for the dispatchers of a microgrid.

    Raises:
      DecodeError: the bytes are not a `ListDispatchersResponse`, or one of them is invalid.
    """
    found: Sequence[object] = _FIELDS.decode(data, runs_wire.ListDispatchersResponse).dispatchers
    return [info for info in found if isinstance(info, DispatcherInfo)]


def decode_status(data: bytes) -> DispatcherStatus:
    """Decode the bytes of a `DispatcherStatus` message.

    A state that a later version of the API may have counts as `ConnectionState.CONNECTING`.

    Raises:
      DecodeError: the bytes are invalid, or a field is.
    """
    message: type[object] = runs_wire.DispatcherStatus
    status = _FIELDS.decode(data, message)
    assert isinstance(status, DispatcherStatus)
    return status


def _status(
    connection: int, interval: float, lateness: float, worst_lateness: float, waiting: int
) -> DispatcherStatus:
    if not connection:
        raise DecodeError("connection is missing")
    known = {state.value for state in ConnectionState}
    if not interval > 0:
        raise DecodeError(f"interval {interval} is not above 0")
    return DispatcherStatus(
        connection=ConnectionState(connection if connection in known else 1),
        interval=_seconds("interval", interval),
        lateness=_seconds("lateness", lateness),
        worst_lateness=_seconds("worst_lateness", worst_lateness),
        waiting=waiting,
    )


def _seconds(name: str, value: float) -> timedelta:
    try:
        return timedelta(seconds=value)
    except (ValueError, OverflowError) as exc:
        raise DecodeError(f"{name} {value} is not a number of seconds: {exc}") from None


def _dispatcher(
    *,
    name: str,
    version: str,
    first_report_time: datetime | None,
    last_report_time: datetime | None,
    lost: int,
    status: DispatcherStatus | None,
    offline_since_time: datetime | None,
) -> DispatcherInfo:
    if first_report_time is None or last_report_time is None:
        raise DecodeError("the time of a report is missing")
    return DispatcherInfo(
        name, version, first_report_time, last_report_time, lost, status, offline_since_time
    )


_FIELDS = MessageCodec(
    builders={
        **BUILDERS,
        runs_wire.DispatcherStatus: _status,
        runs_wire.DispatcherInfo: _dispatcher,
    }
)


def status_to_wire(status: DispatcherStatus) -> runs_wire.DispatcherStatus:
    """Convert a status to a message."""
    return runs_wire.DispatcherStatus(
        connection=runs_wire.ConnectionState(status.connection.value),
        interval=status.interval.total_seconds(),
        lateness=status.lateness.total_seconds(),
        worst_lateness=status.worst_lateness.total_seconds(),
        waiting=status.waiting,
    )


def encode_status(status: DispatcherStatus) -> bytes:
    """Encode a status as the bytes of a `DispatcherStatus` message, to keep it."""
    return WIRE.encode(status_to_wire(status), runs_wire.DispatcherStatus)


def encode_dispatchers(found: list[DispatcherInfo]) -> bytes:
    """Encode the reply to a request for the dispatchers of a microgrid."""
    reply = runs_wire.ListDispatchersResponse(
        dispatchers=[
            runs_wire.DispatcherInfo(
                name=info.name,
                version=info.version,
                first_report_time=info.first_report_time,
                last_report_time=info.last_report_time,
                lost=info.lost,
                status=None if info.status is None else status_to_wire(info.status),
                offline_since_time=info.offline_since,
            )
            for info in found
        ]
    )
    return WIRE.encode(reply, runs_wire.ListDispatchersResponse)
