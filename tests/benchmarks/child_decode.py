"""Contenders that decode a dispatch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks.children import obey

SECONDS = 0.3


def repeated(decode: Callable[[bytes], Any], rows: list[str]) -> float:
    """Return the microseconds for decoding one of these dispatches, which are given in hex."""
    data = [bytes.fromhex(row) for row in rows]
    done = 0
    began = time.perf_counter()
    while time.perf_counter() < began + SECONDS:
        for each in data:
            decode(each)
        done += len(data)
    return (time.perf_counter() - began) / done * 1e6


def ours(rows: list[str]) -> float:
    from trio_dispatch.api.codec import decode_dispatch

    assert decode_dispatch(bytes.fromhex(rows[0])).id == 1
    return repeated(decode_dispatch, rows)


def ours_with_payload(rows: list[str]) -> float:
    """Decode, and read the payload."""
    from trio_dispatch.api.codec import decode_dispatch

    return repeated(lambda data: decode_dispatch(data).payload["power"], rows)


def betterproto2(rows: list[str]) -> float:
    """Decode to a message, which already contains datetimes."""
    from trio_dispatch.api import wire

    metadata = wire.Dispatch.parse(bytes.fromhex(rows[0])).metadata
    assert metadata is not None
    assert metadata.dispatch_id == 1
    return repeated(wire.Dispatch.parse, rows)


def official(rows: list[str]) -> float:
    """Decode with the C++ protobuf runtime, and convert with the official client."""
    from frequenz.api.dispatch.v1 import dispatch_pb2 as pb
    from frequenz.client.dispatch.types import Dispatch

    def decode(data: bytes) -> Dispatch:
        return Dispatch.from_protobuf(pb.Dispatch.FromString(data))

    assert int(decode(bytes.fromhex(rows[0])).id) == 1
    return repeated(decode, rows)


def upb(rows: list[str]) -> float:
    """Parse with the C++ protobuf runtime, and look at nothing."""
    from frequenz.api.dispatch.v1 import dispatch_pb2 as pb
    from google.protobuf.internal import api_implementation

    assert api_implementation.Type() == "upb"
    return repeated(pb.Dispatch.FromString, rows)


if __name__ == "__main__":
    obey(ours, ours_with_payload, betterproto2, official, upb)
