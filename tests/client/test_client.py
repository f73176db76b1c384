"""The client: what makes no sense is refused before anything is sent."""

from __future__ import annotations

import pickle
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing

from trio_dispatch import (
    ServiceError,
    TargetCategories,
    TargetIds,
    clock,
    open_client,
    open_dispatcher,
)
from trio_dispatch.api import wire
from trio_dispatch.grpc import MessageCodec, Status, open_channel
from trio_dispatch.model.target import BatteryType
from trio_dispatch.testing import make_dispatch, open_test_service

GOOD: dict[str, Any] = {
    "type": "CHARGE",
    "start_time": "NOW",
    "duration": timedelta(hours=1),
    "target": TargetIds(1),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_time": "now"}, "start_time 'now' is neither an aware datetime nor 'NOW'"),
        ({"start_time": datetime(2026, 1, 1)}, "has no time zone"),  # noqa: DTZ001
        ({"duration": timedelta(seconds=-1)}, "is not a number of whole seconds"),
        ({"target": [1, 2]}, r"target \[1, 2\] is not a TargetIds"),
        ({"type": 5}, "type 5 is not a str"),
        ({"active": "yes"}, "active 'yes' is not a bool"),
        ({"recurrence": "daily"}, "recurrence 'daily' is not a RecurrenceRule"),
        ({"payload": {"a": object()}}, r"payload\['a'\]"),
    ],
)
async def test_a_create_that_makes_no_sense(
    autojump_clock: trio.testing.MockClock, change: dict[str, Any], message: str
) -> None:
    async with open_test_service() as service:
        with pytest.raises(ValueError, match=message):
            await service.client.create(1, **(GOOD | change))
        assert await service.dispatches() == {}


@pytest.mark.parametrize("key", ["secret\n", "schl\u00fcssel", "a\0b"])
async def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="not printable ASCII") as caught:
        async with open_client("grpc://localhost", key=key):
            pytest.fail("let in")
    assert key.strip() not in str(caught.value)


async def test_other_calls_that_make_no_sense(autojump_clock: trio.testing.MockClock) -> None:
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
                    pytest.fail("let in")
        with pytest.raises(ValueError, match="nothing to change"):
            await client.update(1, 1)
        with pytest.raises(ValueError, match="active 'yes'"):
            await client.update(1, 1, active="yes")  # type: ignore[arg-type]
        nonsense: list[tuple[dict[str, Any], str]] = [
            ({"targets": [5]}, "target 5 is not"),
            ({"sort_by": "size"}, "sort_by 'size' is none of start_time"),
            ({"ids": [-1]}, "id -1 is not"),
        ]
        for arguments, message in nonsense:
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
        assert sorted(await ids(queries=["HEAT", "#1"])) == [1, 2, 4, 6]
        assert await ids(active=False) == [3]
        assert await ids(ids=[5], targets=[TargetCategories(BatteryType.LI_ION)]) == [5]
        start = clock.VIRTUAL_START
        assert sorted(await ids(start_from=start + 2 * hour, start_to=start + 4 * hour)) == [2, 3]


async def test_what_is_not_said_is_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("URL", "AUTH_KEY", "KEY", "SIGN_SECRET"):
        monkeypatch.delenv(f"DISPATCH_API_{name}", raising=False)
    with pytest.raises(ValueError, match="no key: give it, or set DISPATCH_API_AUTH_KEY"):
        async with open_client("grpc://localhost"):
            pytest.fail("opened")
    monkeypatch.setenv("DISPATCH_API_KEY", "k")
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


async def test_an_error_says_what_it_is_about(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_service() as service:
        with pytest.raises(ServiceError, match="microgrid 1, dispatch 5: get: NOT_FOUND") as info:
            await service.client.get(1, 5)
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
        stub = wire.MicrogridDispatchServiceStub(channel, metadata={"key": service.key})
        reply = await stub.get_microgrid_dispatch(
            wire.GetMicrogridDispatchRequest(microgrid_id=1, dispatch_id=made.id)
        )
        assert isinstance(reply.dispatch, wire.Dispatch)
