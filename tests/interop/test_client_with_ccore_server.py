"""Our client, and a service made of the official stubs on C-core gRPC."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
import trio

from tests.helpers.interop.ccore import KEY, MICROGRID, CCoreService
from tests.helpers.interop.peers import within
from trio_dispatch import (
    BatteryType,
    Dispatch,
    DispatchClient,
    ElectricalComponentCategory,
    EndCriteria,
    Frequency,
    Page,
    RecurrenceRule,
    ServiceError,
    TargetCategories,
    TargetIds,
    Weekday,
    open_client,
)
from trio_dispatch.grpc import Status

TARGETS = TargetCategories(BatteryType.LI_ION, ElectricalComponentCategory.EV_CHARGER)
RULE = RecurrenceRule(
    Frequency.WEEKLY,
    interval=2,
    end_criteria=EndCriteria(count=10),
    byminutes=(0, 30),
    byhours=(12,),
    byweekdays=(Weekday.MONDAY, Weekday.SUNDAY),
    bymonths=(1, 12),
)


def in_an_hour() -> datetime:
    return datetime.now(UTC).replace(microsecond=123456) + timedelta(hours=1)


async def create(client: DispatchClient, type: str = "CHARGE", **changes: object) -> Dispatch:
    fields = {
        "start_time": in_an_hour(),
        "duration": timedelta(minutes=1),
        "target": TargetIds(1, 2),
        **changes,
    }
    return await client.create(MICROGRID, type=type, **fields)  # type: ignore[arg-type]


async def first_page(client: DispatchClient) -> Page:
    async with aclosing(client.list(MICROGRID)) as pages:
        return await anext(pages)


@within(30)
async def test_create(client: DispatchClient, ccore: CCoreService) -> None:
    start = in_an_hour()
    created = await create(
        client,
        start_time=start,
        duration=timedelta(minutes=90),
        target=TARGETS,
        active=False,
        dry_run=True,
        payload={"power": -5000.5, "nested": {"list": [1, None, "x", True]}},
        recurrence=RULE,
    )
    assert created.type == "CHARGE"
    assert created.start_time == start
    assert created.duration == timedelta(minutes=90)
    assert created.target == TARGETS
    assert (created.active, created.dry_run) == (False, True)
    assert created.payload == {"power": -5000.5, "nested": {"list": [1.0, None, "x", True]}}
    assert created.recurrence == RULE
    assert created.end_time is None

    rows = await ccore.ask("rows")
    data = rows[str(created.id)]["data"]
    assert datetime.fromisoformat(data["startTime"]) == start
    assert data["duration"] == 5400
    assert data["isDryRun"] is True
    assert "isActive" not in data
    assert data["payload"] == {"power": -5000.5, "nested": {"list": [1, None, "x", True]}}
    assert data["recurrence"] == {
        "freq": "FREQUENCY_WEEKLY",
        "interval": 2,
        "endCriteria": {"count": 10},
        "byminutes": [0, 30],
        "byhours": [12],
        "byweekdays": ["WEEKDAY_MONDAY", "WEEKDAY_SUNDAY"],
        "bymonths": [1, 12],
    }


@within(30)
async def test_create_now_and_for_ever(client: DispatchClient, ccore: CCoreService) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    created = await create(client, start_time="NOW", duration=None)
    assert before <= created.start_time <= datetime.now(UTC)
    assert created.start_time.microsecond == 0
    assert created.duration is None
    rows = await ccore.ask("rows")
    assert "duration" not in rows[str(created.id)]["data"]


@within(30)
async def test_get(client: DispatchClient) -> None:
    created = await create(client, recurrence=RULE, payload={"a": 1})
    assert await client.get(MICROGRID, created.id) == created


@within(30)
async def test_update_changes_what_is_given(client: DispatchClient) -> None:
    created = await create(client, payload={"a": 1}, recurrence=RULE)
    later = created.start_time + timedelta(hours=1)
    updated = await client.update(
        MICROGRID,
        created.id,
        start_time=later,
        target=TARGETS,
        active=False,
        payload={"b": [2]},
        recurrence=RecurrenceRule(Frequency.MONTHLY, bymonthdays=(-1,)),
    )
    assert (updated.id, updated.type) == (created.id, created.type)
    assert updated.start_time == later
    assert updated.duration == created.duration
    assert updated.target == TARGETS
    assert updated.active is False
    assert updated.payload == {"b": [2.0]}
    assert updated.recurrence == RecurrenceRule(Frequency.MONTHLY, bymonthdays=(-1,))
    assert updated.create_time == created.create_time
    assert updated.newer_than(created)
    assert await client.get(MICROGRID, created.id) == updated


@within(30)
async def test_update_can_clear(client: DispatchClient) -> None:
    created = await create(client, payload={"a": 1}, recurrence=RULE)
    cleared = await client.update(MICROGRID, created.id, duration=None, payload={}, recurrence=None)
    assert cleared.duration is None
    assert cleared.payload == {}
    assert cleared.recurrence is None or cleared.recurrence.frequency is Frequency.UNSPECIFIED
    pulse = await client.update(MICROGRID, created.id, duration=timedelta())
    assert pulse.duration == timedelta()


@within(30)
async def test_delete(client: DispatchClient, ccore: CCoreService) -> None:
    created = await create(client)
    await client.delete(MICROGRID, created.id)
    assert await ccore.ask("rows") == {}
    with pytest.raises(ServiceError) as caught:
        await client.delete(MICROGRID, created.id)
    assert caught.value.status is Status.NOT_FOUND


@within(30)
async def test_list_of_several_pages(client: DispatchClient, ccore: CCoreService) -> None:
    ids = await ccore.create(23)
    pages = [page async for page in client.list(MICROGRID, page_size=10)]
    assert [len(page) for page in pages] == [10, 10, 3]
    assert [page.total for page in pages] == [23] * 3
    assert [dispatch.id for page in pages for dispatch in page] == sorted(ids, reverse=True)


@within(30)
async def test_list_with_filters(client: DispatchClient) -> None:
    start = in_an_hour()
    plain = await create(client, start_time=start)
    later = await create(client, "DISCHARGE", start_time=start + timedelta(hours=1))
    other = await create(client, "PEAK_SHAVING", target=TARGETS, active=False)
    recurring = await create(client, "PEAK", recurrence=RULE, dry_run=True)
    endless = await create(client, "COOL", duration=None)

    async def found(**filters: object) -> set[int]:
        pages = client.list(MICROGRID, page_size=2, **filters)  # type: ignore[arg-type]
        return {dispatch.id async for page in pages for dispatch in page}

    everything = {plain.id, later.id, other.id, recurring.id, endless.id}
    assert await found() == everything
    assert await found(ids=[plain.id, other.id, 999]) == {plain.id, other.id}
    assert await found(active=False) == {other.id}
    assert await found(active=True) == everything - {other.id}
    assert await found(dry_run=True) == {recurring.id}
    assert await found(recurring=True) == {recurring.id}
    assert await found(recurring=False) == everything - {recurring.id}
    assert await found(targets=[TARGETS]) == {other.id}
    assert await found(targets=[TARGETS, TargetIds(1, 2)]) == everything
    assert await found(queries=["CHARGE"]) == {plain.id, later.id}
    assert await found(queries=["DIS", f"#{endless.id}"]) == {later.id, endless.id}
    assert await found(queries=["PEAK"], dry_run=False) == {other.id}
    assert await found(start_from=later.start_time) == {later.id}
    assert later.id not in await found(start_to=later.start_time)
    assert later.end_time is not None
    assert await found(end_from=later.end_time) == {later.id, recurring.id, endless.id}
    assert await found(end_to=later.end_time) == {plain.id, other.id}
    assert await found(update_from=endless.update_time) == {endless.id}


@within(30)
async def test_stream(client: DispatchClient, ccore: CCoreService) -> None:
    async with client.stream(MICROGRID) as events:
        await ccore.ask("until_watched")
        created = await create(client)
        event = await anext(events)
        assert events.started.is_set()
        assert (event.kind.name, event.dispatch) == ("CREATED", created)

        updated = await client.update(MICROGRID, created.id, payload={"a": 1})
        event = await anext(events)
        assert (event.kind.name, event.dispatch) == ("UPDATED", updated)

        await client.delete(MICROGRID, created.id)
        event = await anext(events)
        assert (event.kind.name, event.dispatch) == ("DELETED", updated)


@within(30)
async def test_stream_that_the_service_ends(client: DispatchClient, ccore: CCoreService) -> None:
    async with client.stream(MICROGRID) as events:
        await ccore.ask("until_watched")
        await ccore.create(2)
        await ccore.ask("end_streams")
        assert len([event async for event in events]) == 2


@within(30)
async def test_stream_that_fails(client: DispatchClient, ccore: CCoreService) -> None:
    async with client.stream(MICROGRID) as events:
        await ccore.ask("until_watched")
        await ccore.create()
        await ccore.ask("end_streams", status="DATA_LOSS")
        await anext(events)
        with pytest.raises(ServiceError) as caught:
            await anext(events)
    assert caught.value.status is Status.DATA_LOSS


@within(30)
async def test_stream_that_we_leave(client: DispatchClient, ccore: CCoreService) -> None:
    async with client.stream(MICROGRID):
        await ccore.ask("until_watched")
    await ccore.ask("until_watched", by=0)


@within(30)
async def test_statuses(client: DispatchClient, ccore: CCoreService) -> None:
    with pytest.raises(ServiceError) as caught:
        await client.get(MICROGRID, 99)
    assert (caught.value.status, caught.value.message) == (Status.NOT_FOUND, "no dispatch 99")

    with pytest.raises(ServiceError) as caught:
        await create(client, start_time=datetime.now(UTC) - timedelta(minutes=1))
    assert caught.value.status is Status.INVALID_ARGUMENT

    with pytest.raises(ServiceError, match="microgrid 2"):
        await client.get(2, 1)

    for status in ("UNAUTHENTICATED", "DATA_LOSS", "RESOURCE_EXHAUSTED"):
        await ccore.ask("fail", method="ListMicrogridDispatches", status=status)
        with pytest.raises(ServiceError) as caught:
            await first_page(client)
        assert caught.value.status is Status[status]


@within(30)
async def test_a_call_that_reads_is_repeated(client: DispatchClient, ccore: CCoreService) -> None:
    await ccore.ask("fail", method="ListMicrogridDispatches", status="UNAVAILABLE")
    assert (await first_page(client)).dispatches == ()


@within(30)
async def test_no_service_there(ccore: CCoreService) -> None:
    await ccore.kill()
    async with open_client(ccore.url, key=KEY) as client:
        with pytest.raises(ServiceError) as caught:
            await client.get(MICROGRID, 1)
    assert caught.value.status is Status.UNAVAILABLE


@within(30)
async def test_call_timeout(ccore: CCoreService) -> None:
    await ccore.ask("delay", seconds=60)
    async with open_client(ccore.url, key=KEY, call_timeout=timedelta(seconds=0.3)) as client:
        with pytest.raises(ServiceError) as caught:
            await client.get(MICROGRID, 1)
    assert caught.value.status is Status.DEADLINE_EXCEEDED
    await ccore.ask("until_cancelled")
    [call] = await ccore.ask("calls")
    assert 0 < call["time_remaining"] <= 0.301


@within(30)
async def test_deadline_of_a_scope(client: DispatchClient, ccore: CCoreService) -> None:
    await ccore.ask("delay", seconds=60)
    with trio.move_on_after(0.3) as scope:
        await client.get(MICROGRID, 1)
    assert scope.cancelled_caught
    await ccore.ask("until_cancelled")
    [call] = await ccore.ask("calls")
    assert 0 < call["time_remaining"] <= 0.301

    await ccore.ask("delay", seconds=0)
    assert (await create(client)).id


@within(30)
async def test_cancelled_call_is_cancelled_at_the_service(
    client: DispatchClient, ccore: CCoreService, nursery: trio.Nursery
) -> None:
    await create(client)
    await ccore.ask("delay", seconds=60)
    nursery.start_soon(client.get, MICROGRID, 1)
    await ccore.ask("until_called", method="GetMicrogridDispatch")
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await ccore.ask("until_cancelled")


@within(30)
async def test_key_and_signature_come_with_every_call(ccore: CCoreService) -> None:
    async with open_client(ccore.url, key=KEY, sign_secret="a-secret") as client:
        created = await create(client)
        await client.get(MICROGRID, created.id)
        await client.update(MICROGRID, created.id, active=False)
        await first_page(client)
        await client.delete(MICROGRID, created.id)
        async with client.stream(MICROGRID):
            await ccore.ask("until_watched")
    calls = await ccore.ask("calls")
    assert len({call["method"] for call in calls}) == 6
    assert all(call["metadata"]["key"] == KEY for call in calls)
    assert all(call["metadata"].keys() >= {"ts", "nonce", "sig"} for call in calls)
    assert len({call["metadata"]["nonce"] for call in calls}) == 6
