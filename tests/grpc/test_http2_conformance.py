"""What RFC 9113 and RFC 7541 require of our server, section by section."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.helpers.conformance.exchange import Check, Verdict
from tests.helpers.conformance.table import CHECKS
from tests.helpers.interop.bytes_calls import Calls
from tests.helpers.interop.raw import RawCodec
from trio_dispatch.grpc import Server


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.section} {check.title}")
async def test_requirement(
    check: Check, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(Server([Calls()], codec=RawCodec()).serve_stream, theirs)
    verdict, observed = await check.run(ours)
    assert verdict is Verdict.EXACT, observed
    nursery.cancel_scope.cancel()
