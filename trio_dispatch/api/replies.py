"""Replies of a dispatch service: from bytes to values.

A dispatch that cannot be decoded becomes an `Undecodable` in its place, so that it does not spoil
the page that it came in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from ..model.dispatch import Dispatch
from ..model.events import EventKind, StreamEvent
from ..model.undecodable import Undecodable
from ..protobuf.codec import DecodeError, MessageCodec
from . import wire
from .codec import WIRE, decode_dispatch, dispatch_to_wire
from .wire import Timestamp

__all__ = [
    "Page",
    "decode_created",
    "decode_event",
    "decode_found",
    "decode_page",
    "decode_updated",
    "dispatch_or_undecodable",
    "encode_page",
]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list; iterate over it for its dispatches.

    Attributes:
      dispatches: The dispatches of the page, in the order of the list.
      undecodable: The dispatches of the page that could not be decoded.
      total: How many dispatches the whole list has, over all pages; None if the service does not
        say.
      next_token: The token of the next page; empty on the last page.
    """

    dispatches: tuple[Dispatch, ...]
    undecodable: tuple[Undecodable, ...] = ()
    total: int | None = None
    next_token: str = ""

    def __iter__(self) -> Iterator[Dispatch]:
        return iter(self.dispatches)

    def __len__(self) -> int:
        return len(self.dispatches)


def decode_page(data: bytes) -> Page:
    """Decode the reply to a list request.

    Raises:
      DecodeError: the bytes are not a `ListMicrogridDispatchesResponse`.
    """
    return _decode(data, wire.ListMicrogridDispatchesResponse, Page)


def encode_page(dispatches: Iterable[Dispatch]) -> bytes:
    """Encode dispatches as a page.  Pages may be concatenated to a longer one."""
    return WIRE.encode(
        wire.ListMicrogridDispatchesResponse(dispatches=[*map(dispatch_to_wire, dispatches)]),
        wire.ListMicrogridDispatchesResponse,
    )


def decode_event(data: bytes) -> StreamEvent:
    """Decode a message of a stream.

    Raises:
      DecodeError: the bytes are not a `StreamMicrogridDispatchesResponse`.
    """
    return _decode(data, wire.StreamMicrogridDispatchesResponse, StreamEvent)


def decode_found(data: bytes) -> Dispatch | Undecodable:
    """Decode the reply to a get request.

    Raises:
      DecodeError: the bytes are not a `GetMicrogridDispatchResponse`.
    """
    return _decode(data, wire.GetMicrogridDispatchResponse, _Single).dispatch


def decode_created(data: bytes) -> Dispatch | Undecodable:
    """Decode the reply to a create request.

    Raises:
      DecodeError: the bytes are not a `CreateMicrogridDispatchResponse`.
    """
    return _decode(data, wire.CreateMicrogridDispatchResponse, _Single).dispatch


def decode_updated(data: bytes) -> Dispatch | Undecodable:
    """Decode the reply to an update request.

    Raises:
      DecodeError: the bytes are not an `UpdateMicrogridDispatchResponse`.
    """
    return _decode(data, wire.UpdateMicrogridDispatchResponse, _Single).dispatch


def _decode(data: bytes, message: type[object], kind: type[_T]) -> _T:
    value = _REPLIES.decode(data, message)
    assert isinstance(value, kind)
    return value


@dataclass(frozen=True, slots=True)
class _Single:
    dispatch: Dispatch | Undecodable


def _single(dispatch: Dispatch | Undecodable | None, microgrid_id: int = 0) -> _Single:
    return _Single(dispatch or Undecodable(None, "it has no dispatch"))


_KINDS = {
    wire.Event.CREATED: EventKind.CREATED,
    wire.Event.UPDATED: EventKind.UPDATED,
    wire.Event.DELETED: EventKind.DELETED,
}


def _event(dispatch: Dispatch | Undecodable | None, event: wire.Event) -> StreamEvent:
    return StreamEvent(
        _KINDS.get(event, EventKind.UNKNOWN),
        dispatch or Undecodable(None, "it has no dispatch"),
    )


def _page(
    dispatches: list[Dispatch | Undecodable], pagination_info: wire.PaginationInfo | None
) -> Page:
    info = pagination_info
    # A service that does not count says 0, which the dispatches of the page refute.
    counted = info is not None and (info.total_items > 0 or not dispatches)
    return Page(
        tuple(item for item in dispatches if isinstance(item, Dispatch)),
        tuple(item for item in dispatches if isinstance(item, Undecodable)),
        info.total_items if info is not None and counted else None,
        "" if info is None else info.next_page_token or "",
    )


def dispatch_or_undecodable(data: bytes) -> Dispatch | Undecodable:
    """Decode the bytes of a `Dispatch` message; an `Undecodable` if that fails."""
    try:
        return decode_dispatch(data)
    except DecodeError as exc:
        return Undecodable(_id_of(data), str(exc))


def _id_of(data: bytes) -> int | None:
    """The id of a dispatch whose times or strings may be invalid."""
    try:
        metadata = _IDS.decode(data, wire.Dispatch).metadata
    except DecodeError:
        return None
    return None if metadata is None else metadata.dispatch_id


_REPLIES = MessageCodec(
    decoders={wire.Dispatch: dispatch_or_undecodable},
    builders={
        wire.ListMicrogridDispatchesResponse: _page,
        wire.StreamMicrogridDispatchesResponse: _event,
        wire.GetMicrogridDispatchResponse: _single,
        wire.CreateMicrogridDispatchResponse: _single,
        wire.UpdateMicrogridDispatchResponse: _single,
    },
)
# Of the metadata it reads only the id.
_IDS = MessageCodec(decoders={wire.DispatchData: bytes, Timestamp: bytes})
