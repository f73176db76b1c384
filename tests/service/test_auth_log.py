"""What the log says of calls that are refused as unauthenticated, and how much of it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import trio
from multidict import MultiDict
from trio.testing import MockClock

from trio_dispatch.api.signing import request_metadata, signature
from trio_dispatch.grpc import GRPCError, Status
from trio_dispatch.service import Authenticator, Key, Keys
from trio_dispatch.service.auth_log import Fault
from trio_dispatch.service.store.memory import MemoryStore

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
METHOD = "/frequenz.api.dispatch.v1.MicrogridDispatchService/GetMicrogridDispatch"


async def refuse(
    authenticator: Authenticator, metadata: dict[str, str], now: datetime = NOW
) -> None:
    with pytest.raises(GRPCError) as caught:
        await authenticator.authenticate(
            cast(Any, MultiDict(metadata)), METHOD, now, peer="192.0.2.7:5"
        )
    assert caught.value.status is Status.UNAUTHENTICATED
    assert caught.value.message == "the request is not authenticated"


def signed(number: int = 0) -> dict[str, str]:
    return request_metadata(
        "open", "sesame", "GetMicrogridDispatch", NOW, number.to_bytes(16, "big")
    )


def guard() -> Authenticator:
    return Authenticator(Keys([Key("open", "sesame", "site 7")]), MemoryStore())


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in signed().items() if key != name}


def signed_with_nonce(nonce: str) -> dict[str, str]:
    made = signed()
    sig = signature("open", "sesame", made["ts"], nonce, "GetMicrogridDispatch")
    return {**made, "nonce": nonce, "sig": sig}


@pytest.mark.parametrize(
    ("metadata", "seconds", "fault", "name"),
    [
        ({}, 0, Fault.NO_KEY, None),
        ({"key": "guessed"}, 0, Fault.UNKNOWN_KEY, None),
        (signed() | {"key": "guessed"}, 0, Fault.UNKNOWN_KEY, None),
        ({"key": "open"}, 0, Fault.NO_SIGNATURE, "site 7"),
        (without("sig"), 0, Fault.NO_SIGNATURE, "site 7"),
        (without("ts"), 0, Fault.BAD_SIGNATURE, "site 7"),
        (signed() | {"sig": "x"}, 0, Fault.BAD_SIGNATURE, "site 7"),
        (signed(), 301, Fault.TIMESTAMP, "site 7"),
        (signed(), -301, Fault.TIMESTAMP, "site 7"),
        (signed_with_nonce("short"), 0, Fault.NONCE, "site 7"),
    ],
)
async def test_log_says_what_is_wrong(
    metadata: dict[str, str],
    seconds: int,
    fault: Fault,
    name: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    authenticator = guard()
    await refuse(authenticator, metadata, NOW + timedelta(seconds=seconds))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"unauthenticated: {fault.value}"
    fields = vars(record)
    assert (fields["key"], fields["peer"]) == (name, "192.0.2.7:5")
    assert fields["method"] == "GetMicrogridDispatch"
    assert "guessed" not in str(fields)
    assert authenticator.faults.refused == {fault: 1}


async def test_replay_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    authenticator = guard()
    await authenticator.authenticate(cast(Any, MultiDict(signed())), METHOD, NOW)
    assert not caplog.records
    await refuse(authenticator, signed())
    assert [record.getMessage() for record in caplog.records] == ["unauthenticated: replay"]


async def test_log_is_limited_for_each_kind_of_fault(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    authenticator = guard()
    for _ in range(1000):
        await refuse(authenticator, {"key": "guessed"})
    assert len(caplog.records) == 5
    await refuse(authenticator, {})
    assert [record.getMessage() for record in caplog.records[5:]] == ["unauthenticated: no key"]
    caplog.clear()
    await trio.sleep(60)
    for _ in range(10):
        await refuse(authenticator, {"key": "guessed"})
    [record] = caplog.records
    assert vars(record)["omitted"] == 995
    assert authenticator.faults.refused[Fault.UNKNOWN_KEY] == 1010
    caplog.clear()
    await trio.sleep(3600)
    for _ in range(10):
        await refuse(authenticator, {"key": "guessed"})
    assert [vars(record)["omitted"] for record in caplog.records] == [9, None, None, None, None]
