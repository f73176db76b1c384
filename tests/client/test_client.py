"""The client: invalid arguments are rejected before anything is sent; settings; errors."""

from __future__ import annotations

import math
import pickle
from contextlib import aclosing
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.services import DispatchServiceStub
from trio_dispatch import (
    ServiceError,
    TargetCategories,
    TargetIds,
    clock,
    open_client,
    open_dispatcher,
)
from trio_dispatch.api import wire
from trio_dispatch.grpc import GRPCError, MessageCodec, Proceed, ServerStream, Status, open_channel
from trio_dispatch.model.target import BatteryType
from trio_dispatch.service import open_service
from trio_dispatch.testing import make_dispatch, open_test_service

GOOD: dict[str, Any] = {
    "type": "CHARGE",
    "start_time": "NOW",
    "duration": timedelta(hours=1),
    "target": TargetIds(1),
}


def nested(levels: int) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    for _ in range(levels - 1):
        payload = {"a": payload}
    return payload


CIRCLE: dict[str, Any] = {}
CIRCLE["a"] = CIRCLE
FIRST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59)  # noqa: DTZ001
EAST, WEST = timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_time": "now"}, "start_time 'now' is neither an aware datetime nor 'NOW'"),
        ({"start_time": datetime(2026, 1, 1)}, "has no time zone"),  # noqa: DTZ001
        ({"start_time": FIRST.replace(tzinfo=EAST)}, "start_time .* is not within years 1 to 9999"),
        ({"start_time": LAST.replace(tzinfo=WEST)}, "start_time .* is not within years 1 to 9999"),
        ({"start_time": 5}, "start_time 5 is not a datetime"),
        ({"duration": timedelta(seconds=-1)}, "is not a number of whole seconds"),
        ({"duration": timedelta(seconds=0.5)}, "is not a number of whole seconds"),
        ({"duration": timedelta(seconds=2**32)}, "is not a number of whole seconds"),
        ({"duration": timedelta.max}, "is not a number of whole seconds"),
        ({"duration": 60}, "duration 60 is not a timedelta"),
        ({"target": [1, 2]}, r"target \[1, 2\] is not a TargetIds"),
        ({"type": 5}, "type 5 is not a str"),
        ({"type": "A\ud800"}, "type .* has a lone surrogate"),
        ({"active": "yes"}, "active 'yes' is not a bool"),
        ({"recurrence": "daily"}, "recurrence 'daily' is not a RecurrenceRule"),
        ({"payload": {"a": object()}}, r"payload\['a'\]"),
        ({"payload": {"a": "\udfff"}}, r"payload\['a'\]: .* has a lone surrogate"),
        ({"payload": {"\ud800": 1}}, "payload: the key .* has a lone surrogate"),
        ({"payload": {"a": math.nan}}, r"payload\['a'\]: nan is not JSON"),
        ({"payload": {"a": -math.inf}}, r"payload\['a'\]: -inf is not JSON"),
        ({"payload": {"a": 10**400}}, "is too large for a float"),
        ({"payload": nested(31)}, "payload is nested deeper than 30 levels"),
        ({"payload": nested(5000)}, "payload is nested too deeply, or contains itself"),
        ({"payload": CIRCLE}, "payload is nested too deeply, or contains itself"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
async def test_create_rejects_an_invalid_argument(
    autojump_clock: trio.testing.MockClock, change: dict[str, Any], message: str
) -> None:
    async with open_test_service() as service:
        with pytest.raises(ValueError, match=message):
            await service.client.create(1, **(GOOD | change))
        assert await service.dispatches() == {}


@pytest.mark.parametrize("key", ["secret\n", "schl\u00fcssel", "a\0b", " secret"])
async def test_a_key_that_cannot_be_sent_is_rejected_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match=r"^the API key ") as caught:
        async with open_client("grpc://localhost", key=key):
            pytest.fail("opened")
    assert key.strip() not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"start_time": LAST.replace(tzinfo=EAST)},
        {"duration": timedelta(seconds=2**32 - 1), "start_time": clock.VIRTUAL_START},
        {"duration": None},
        {"type": "\0"},
        {"type": "\U0010ffff\ufdd0"},
        {"target": TargetIds(0, 2**64 - 1)},
        {"payload": {"": "\0", "a\0": [0.1, -0.0, 5e-324, 1.7976931348623157e308, 2**53]}},
        {"payload": nested(5)},
    ],
    ids=str,
)
async def test_values_at_the_edge_come_back_as_they_were_given(
    autojump_clock: trio.testing.MockClock, change: dict[str, Any]
) -> None:
    async with open_test_service() as service:
        fields = GOOD | {"start_time": clock.VIRTUAL_START + timedelta(days=1)} | change
        made = await service.client.create(1, **fields)
        assert {name: getattr(made, name) for name in change} == change
        assert await service.client.get(1, made.id) == made
        assert [page.dispatches async for page in service.client.list(1)] == [(made,)]


async def test_other_calls_reject_invalid_arguments(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_service() as service:
        client = service.client
        for id_ in (-1, 2**64, "1", None):
            with pytest.raises(ValueError, match="dispatch_id"):
                await client.get(1, id_)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="microgrid_id"):
                await client.delete(id_, 1)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="microgrid_id"):
                async with open_dispatcher(
                    microgrid_id=id_,  # type: ignore[arg-type]
                    channel=service.channel,
                    key="k",
                ):
                    pytest.fail("opened")
        with pytest.raises(ValueError, match="nothing to change"):
            await client.update(1, 1)
        with pytest.raises(ValueError, match="active 'yes'"):
            await client.update(1, 1, active="yes")  # type: ignore[arg-type]
        invalid: list[tuple[dict[str, Any], str]] = [
            ({"targets": [5]}, "target 5 is not"),
            ({"sort_by": "size"}, "sort_by 'size' is not one of start_time"),
            ({"ids": [-1]}, "id -1 is not"),
            ({"ids": [True]}, "id True is not"),
            ({"queries": "HEAT"}, "queries 'HEAT' is a str"),
            ({"queries": ["\ud800"]}, "queries: .* has a lone surrogate"),
            ({"queries": [5]}, "queries: 5 is not a str"),
            ({"page_size": 0}, "page_size 0 is not"),
            ({"page_size": 2**32}, "page_size 4294967296 is not"),
            ({"page_size": "9"}, "page_size '9' is not"),
            ({"end_from": LAST.replace(tzinfo=WEST)}, "end_from .* is not within years 1"),
        ]
        for arguments, message in invalid:
            async with aclosing(client.list(1, **arguments)) as pages:
                with pytest.raises(ValueError, match=message):
                    await anext(pages)


async def test_lists_are_filtered_sorted_and_paged(autojump_clock: trio.testing.MockClock) -> None:
    hour = timedelta(hours=1)
    async with open_test_service() as service:
        for number in range(1, 8):
            await service.put(
                make_dispatch(
                    number,
                    type="CHARGE" if number % 2 else "HEAT",
                    start_time=clock.VIRTUAL_START + number * hour,
                    target=TargetIds(number)
                    if number < 5
                    else TargetCategories(BatteryType.LI_ION),
                    active=number != 3,
                )
            )

        async def ids(**filters: Any) -> list[int]:
            async with aclosing(service.client.list(1, page_size=2, **filters)) as pages:
                return [dispatch.id async for page in pages for dispatch in page]

        assert sorted(await ids()) == [1, 2, 3, 4, 5, 6, 7]
        assert await ids(sort_by="start_time", descending=False) == [1, 2, 3, 4, 5, 6, 7]
        assert await ids(descending=False) == await ids(sort_by="create_time", descending=False)
        assert await ids() == await ids(sort_by="create_time")
        assert sorted(await ids(queries=["HEAT", "#1"])) == [1, 2, 4, 6]
        assert await ids(active=False) == [3]
        assert await ids(ids=[5], targets=[TargetCategories(BatteryType.LI_ION)]) == [5]
        start = clock.VIRTUAL_START
        assert sorted(await ids(start_from=start + 2 * hour, start_to=start + 4 * hour)) == [2, 3]


VARIABLES = (
    "DISPATCH_API_URL",
    "DISPATCH_API_AUTH_KEY",
    "DISPATCH_API_KEY",
    "DISPATCH_API_SIGN_SECRET",
    "FREQUENZ_API_KEY",
    "FREQUENZ_API_SECRET",
)


@pytest.fixture
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_empty_environment")
@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({}, {}),
        ({"FREQUENZ_API_KEY": "f"}, {"key": "f"}),
        ({"FREQUENZ_API_KEY": "f", "DISPATCH_API_KEY": "d"}, {"key": "d"}),
        ({"DISPATCH_API_KEY": "d", "DISPATCH_API_AUTH_KEY": "a"}, {"key": "a"}),
        ({"FREQUENZ_API_KEY": "f", "FREQUENZ_API_SECRET": "s"}, {"key": "f", "sig": "s"}),
        ({"DISPATCH_API_KEY": "", "DISPATCH_API_AUTH_KEY": ""}, {}),
    ],
)
async def test_the_key_and_the_secret_are_taken_from_the_environment(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    sent: dict[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    seen: dict[str, str] = {}

    async def note(call: ServerStream[Any, Any], proceed: Proceed) -> None:
        assert call.metadata is not None
        seen.update((name, str(value)) for name, value in call.metadata.items())
        await proceed()

    async with (
        open_service(interceptors=[note]) as service,
        trio.open_nursery() as nursery,
    ):

        async def connect() -> trio.abc.Stream:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(service.server.serve_stream, theirs)
            await trio.lowlevel.checkpoint()
            return ours

        async with open_channel(connect) as channel, open_client(channel=channel) as client:
            assert [len(page) async for page in client.list(1)] == [0]
        nursery.cancel_scope.cancel()
    assert seen.get("key") == sent.get("key")
    assert ("sig" in seen) == ("sig" in sent)


@pytest.mark.usefixtures("_empty_environment")
async def test_a_missing_or_invalid_url_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no server_url: give it, or set DISPATCH_API_URL"):
        async with open_client():
            pytest.fail("opened")
    monkeypatch.setenv("DISPATCH_API_URL", "grpc://localhost:1?ssl=false&colour=red")
    with pytest.raises(ValueError, match="colour"):
        async with open_client():
            pytest.fail("opened")
    monkeypatch.setenv("DISPATCH_API_URL", "http://localhost:1")
    with pytest.raises(ValueError, match="http"):
        async with open_client():
            pytest.fail("opened")


@pytest.mark.parametrize("value", [timedelta(), timedelta(seconds=-1), 5])
async def test_a_call_timeout_is_a_positive_timedelta(value: Any) -> None:
    with pytest.raises(ValueError, match=r"call_timeout .* is not a positive timedelta"):
        async with open_client("grpc://localhost", key="k", call_timeout=value):
            pytest.fail("opened")


async def test_a_secret_that_cannot_be_used_is_rejected_and_not_shown() -> None:
    with pytest.raises(ValueError, match="sign_secret contains a lone surrogate") as caught:
        async with open_client("grpc://localhost", key="k", sign_secret="hush\udc80"):
            pytest.fail("opened")
    assert "hush" not in str(caught.value)


async def test_a_secret_needs_a_key() -> None:
    with pytest.raises(ValueError, match="sign_secret was given without a key"):
        async with open_client("grpc://localhost", sign_secret="s"):
            pytest.fail("opened")


async def test_an_error_names_the_call_and_says_each_thing_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_service() as service:
        with pytest.raises(ServiceError, match=r"^microgrid 1 has no dispatch 5$") as info:
            await service.client.get(1, 5)
        assert info.value.message == "microgrid 1 has no dispatch 5"
        copy = pickle.loads(pickle.dumps(info.value))
        assert (copy.status, str(copy)) == (Status.NOT_FOUND, str(info.value))


async def test_a_channel_with_another_codec_serves_clients_and_dispatchers_and_stubs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        open_test_service() as service,
        open_channel(service.connect, codec=MessageCodec()) as channel,
        open_client(channel=channel, key=service.key) as client,
    ):
        made = await client.create(1, **GOOD)
        assert [page.dispatches async for page in client.list(1)] == [(made,)]
        async with open_dispatcher(microgrid_id=1, channel=channel, key=service.key) as dispatcher:
            assert dict(dispatcher.dispatches) == {made.id: made}
        stub = DispatchServiceStub(channel, metadata={"key": service.key})
        reply = await stub.get_microgrid_dispatch(
            wire.GetMicrogridDispatchRequest(microgrid_id=1, dispatch_id=made.id)
        )
        assert isinstance(reply.dispatch, wire.Dispatch)


@pytest.mark.parametrize("secret", [None, "secret"])
async def test_only_calls_that_read_without_a_signature_are_repeated(
    secret: str | None, nursery: trio.Nursery
) -> None:
    calls: list[str] = []

    async def fail_once(call: ServerStream[Any, Any], proceed: Proceed) -> None:
        method = call.method_name.rpartition("/")[2]
        calls.append(method)
        if calls.count(method) == 1:
            raise GRPCError(Status.UNAVAILABLE, "the service is starting")
        await proceed()

    key = "key" if secret else None
    async with open_service(interceptors=[fail_once]) as service:
        addresses = await nursery.start(partial(service.server.serve_tcp, 0, host="127.0.0.1"))
        url = f"grpc://127.0.0.1:{addresses[0][1]}?ssl=false"
        async with open_client(url, key=key, sign_secret=secret) as client:
            if secret:
                with pytest.raises(ServiceError, match="starting"):
                    await client.get(1, 1)
            else:
                assert [len(page) async for page in client.list(1)] == [0]
            with pytest.raises(ServiceError, match="starting"):
                await client.create(1, **GOOD)
        service.stop()
    assert len(calls) == (2 if secret else 3)
