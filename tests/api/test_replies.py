"""Replies: pages that can be concatenated, and dispatches that cannot be decoded."""

from __future__ import annotations

import pytest

from trio_dispatch.api import wire
from trio_dispatch.api.codec import WIRE, encode_dispatch
from trio_dispatch.api.replies import decode_page, encode_page
from trio_dispatch.protobuf.codec import DecodeError
from trio_dispatch.testing import make_dispatch


def test_encoded_pages_can_be_concatenated() -> None:
    one, two, three = (make_dispatch(number) for number in (1, 2, 3))
    data = encode_page([one]) + encode_page([]) + encode_page([two, three])
    page = decode_page(data)
    assert page.dispatches == (one, two, three)
    assert (page.undecodable, page.total, page.next_token) == ((), None, "")


def test_a_page_that_is_cut_off_is_rejected() -> None:
    data = encode_page([make_dispatch(1)])
    with pytest.raises(DecodeError):
        decode_page(data[:-1])


def test_an_undecodable_dispatch_does_not_spoil_its_page() -> None:
    good = WIRE.decode(encode_dispatch(make_dispatch(1)), wire.Dispatch)
    no_start = wire.Dispatch(metadata=wire.DispatchMetadata(dispatch_id=2))
    page = bytearray()
    # A timestamp after the year 9999, and a type that is not UTF-8, beside a good one.
    for dispatch in (
        WIRE.encode(good, wire.Dispatch),
        WIRE.encode(no_start, wire.Dispatch),
        bytes.fromhex("0a020803" + "120b1209" + "08ffffffffffffff7f"),
        bytes.fromhex("0a020804" + "12040a02fffe"),
        bytes.fromhex("ff"),
    ):
        page += b"\x0a" + bytes([len(dispatch)]) + dispatch
    found = decode_page(bytes(page))
    assert [dispatch.id for dispatch in found] == [1]
    assert [item.id for item in found.undecodable] == [2, 3, 4, None]
