"""The official client, and our service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.helpers.interop.ccore import KEY, MICROGRID
from tests.helpers.interop.ours import (
    OurService,
    as_shown,
    serve,
    serve_here,
    update_again_and_again,
)
from tests.helpers.interop.peers import Peer, PeerError, start_script, within
from trio_dispatch import (
    BatteryType,
    DispatchClient,
    ElectricalComponentCategory,
    EndCriteria,
    EvChargerType,
    Frequency,
    InverterType,
    RecurrenceRule,
    RunningState,
    TargetCategories,
    TargetIds,
    Weekday,
    open_dispatcher,
)
from trio_dispatch.service import Key, Keys


def hours_from_now(hours: float) -> str:
    return (datetime.now(UTC).replace(microsecond=123456) + timedelta(hours=hours)).isoformat()


def plain(**changes: Any) -> dict[str, Any]:
    """The fields of a dispatch as the official client is to send it."""
    return {
        "type": "CHARGE",
        "start_time": hours_from_now(1),
        "duration": 60.0,
        "target": [1, 2],
        "active": True,
        "dry_run": False,
        "payload": {},
        "recurrence": None,
        **changes,
    }


RULE = {
    "frequency": "WEEKLY",
    "interval": 2,
    "count": 10,
    "until": None,
    "byminutes": [0, 30],
    "byhours": [12],
    "byweekdays": ["MONDAY", "SUNDAY"],
    "bymonthdays": [],
    "bymonths": [1, 12],
}
DAYS = RULE | {"frequency": "MONTHLY", "byweekdays": [], "bymonthdays": [1, -1], "interval": 1}
EVERYTHING = plain(
    duration=5400.0,
    target=["BATTERY:LI_ION", "EV_CHARGER"],
    active=False,
    dry_run=True,
    payload={"power": -5000.5, "nested": {"list": [1.0, None, "x", True]}, "ü": "ß"},
    recurrence=RULE,
)
DISPATCHES = [
    plain(),
    EVERYTHING,
    plain(duration=None),
    plain(duration=0.0),
    plain(recurrence=DAYS | {"count": None, "until": "2040-01-01T12:00:00+00:00"}),
    plain(target=["BATTERY", "EV_CHARGER:AC", "INVERTER:HYBRID"]),
]


@within(30)
async def test_create(official: Peer, ours: DispatchClient) -> None:
    """What it shows is what it sent, and what we see."""
    for sent in DISPATCHES:
        before = datetime.now(UTC)
        created = await official.ask("create", **sent)
        assert {name: created[name] for name in sent} == sent
        assert before <= datetime.fromisoformat(created["create_time"]) <= datetime.now(UTC)
        assert created["update_time"] == created["create_time"]
        assert await official.ask("get", id=created["id"]) == created
        assert as_shown(await ours.get(MICROGRID, created["id"])) == created


@within(30)
async def test_create_now(official: Peer, ours: DispatchClient) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    created = await official.ask("create", **plain(start_time="NOW"))
    start = datetime.fromisoformat(created["start_time"])
    assert before <= start <= datetime.now(UTC)
    assert start.microsecond == 0
    assert datetime.fromisoformat(created["end_time"]) == start + timedelta(minutes=1)


@within(30)
async def test_what_we_create(official: Peer, ours: DispatchClient) -> None:
    """It shows what we sent, whatever kind of target and rule it was."""
    for target in (
        TargetIds(7, 2**63),
        TargetCategories(ElectricalComponentCategory.BATTERY, BatteryType.NA_ION),
        TargetCategories(EvChargerType.HYBRID, InverterType.PV),
    ):
        created = await ours.create(
            MICROGRID,
            type="PEAK_SHAVING",
            start_time=datetime.fromisoformat(hours_from_now(1)),
            duration=timedelta(days=1),
            target=target,
            dry_run=True,
            payload={"a": {"b": [1, "c", None]}},
            recurrence=RecurrenceRule(
                Frequency.YEARLY,
                interval=3,
                end_criteria=EndCriteria(count=5),
                byweekdays=(Weekday.FRIDAY,),
                bymonths=(2,),
            ),
        )
        assert await official.ask("get", id=created.id) == as_shown(created)


@within(30)
async def test_update(official: Peer, ours: DispatchClient) -> None:
    created = await official.ask("create", **plain(payload={"a": 1.0}))
    changes = {
        "start_time": hours_from_now(2),
        "duration": 120.0,
        "target": ["BATTERY"],
        "active": False,
        "payload": {"b": [2.0]},
        "recurrence": RULE,
    }
    updated = await official.ask("update", id=created["id"], **changes)
    changed = {*changes, "update_time", "end_time"}
    assert {name: updated[name] for name in changes} == changes
    assert {k: v for k, v in updated.items() if k not in changed} == {
        k: v for k, v in created.items() if k not in changed
    }
    assert updated["update_time"] > created["update_time"]
    assert as_shown(await ours.get(MICROGRID, created["id"])) == updated


@within(30)
async def test_update_of_one_field_leaves_the_others(official: Peer) -> None:
    created = await official.ask("create", **EVERYTHING)
    changes: list[dict[str, Any]] = [
        {"duration": None},
        {"active": True},
        {"payload": {}},
        {"duration": 0.0},
    ]
    for change in changes:
        updated = await official.ask("update", id=created["id"], **change)
        expected = created | change | {"update_time": updated["update_time"]}
        expected["end_time"] = updated["end_time"]
        assert updated == expected
        created = updated


@within(30)
async def test_list_of_several_pages(official: Peer, ours: DispatchClient) -> None:
    for number in range(7):
        await official.ask("create", **plain(type=f"TYPE_{number}"))
    pages = await official.ask("list", page_size=3)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [row["id"] for page in pages for row in page] == [7, 6, 5, 4, 3, 2, 1]
    seen = [as_shown(found) async for page in ours.list(MICROGRID) for found in page]
    assert seen == [row for page in pages for row in page]


@within(30)
async def test_list_with_filters(official: Peer) -> None:
    later = plain(type="DISCHARGE", start_time=hours_from_now(5))
    for fields in (
        plain(),
        later,
        plain(type="PEAK_SHAVING", target=["BATTERY:LI_ION"], active=False),
        plain(type="PEAK", recurrence=RULE, dry_run=True),
        plain(type="COOL", duration=None),
    ):
        await official.ask("create", **fields)

    async def found(**filters: Any) -> set[int]:
        pages = await official.ask("list", page_size=2, **filters)
        return {row["id"] for page in pages for row in page}

    assert await found() == {1, 2, 3, 4, 5}
    assert await found(active=False) == {3}
    assert await found(dry_run=True) == {4}
    assert await found(dispatch_ids=[1, 5, 99]) == {1, 5}
    assert await found(filter_queries=["CHARGE", "#3"]) == {1, 2, 3}
    assert await found(filter_queries=["PEAK"], dry_run=False) == {3}
    assert await found(target_components=[["BATTERY:LI_ION"]]) == {3}
    assert await found(target_components=[["BATTERY:LI_ION"], [1, 2]]) == {1, 2, 3, 4, 5}
    assert await found(start_from=later["start_time"]) == {2}
    assert await found(start_to=later["start_time"]) == {1, 3, 4, 5}


@within(30)
async def test_delete(official: Peer, ours: DispatchClient) -> None:
    await official.ask("create", **plain())
    await official.ask("create", **plain())
    await official.ask("delete", id=1)
    assert await official.ask("list") == [[as_shown(await ours.get(MICROGRID, 2))]]


@within(30)
async def test_stream(official: Peer, ours: DispatchClient) -> None:
    await official.ask("create", **plain())
    await official.ask("stream")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(update_again_and_again, ours, 1)
        await official.ask("next_event")
        nursery.cancel_scope.cancel()

    created = await ours.create(
        MICROGRID,
        type="CHARGE",
        start_time="NOW",
        duration=timedelta(hours=1),
        target=TargetIds(1),
        payload={"a": 1},
    )
    updated = await ours.update(MICROGRID, created.id, active=False)
    await ours.delete(MICROGRID, created.id)
    while (event := await official.ask("next_event"))[1]["id"] != created.id:
        pass
    assert event == ["CREATED", as_shown(created)]
    assert await official.ask("next_event") == ["UPDATED", as_shown(updated)]
    assert await official.ask("next_event") == ["DELETED", as_shown(updated)]


BAD_REQUESTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "get of an unknown id": ("get", {"id": 99}, "NOT_FOUND"),
    "update of an unknown id": ("update", {"id": 99, "active": True}, "NOT_FOUND"),
    "delete of an unknown id": ("delete", {"id": 99}, "NOT_FOUND"),
    "start in the past": ("update", {"id": 1, "start_time": hours_from_now(-1)}, "INVALID"),
    "nothing to update": ("update", {"id": 1}, "INVALID"),
    "no type": ("create", plain(type=""), "INVALID"),
    "interval 0": ("create", plain(recurrence=RULE | {"interval": 0}), "INVALID"),
    "hour 24": ("create", plain(recurrence=RULE | {"byhours": [24]}), "INVALID"),
    "month days in weeks": ("create", plain(recurrence=RULE | {"bymonthdays": [1]}), "INVALID"),
    "deep payload": ("create", plain(payload={"a": [[[[[[1]]]]]]}), "INVALID"),
    "large payload": ("create", plain(payload={"a": "x" * 51 * 1024}), "INVALID"),
}


@within(30)
async def test_bad_requests(official: Peer) -> None:
    """Each gets its status, and changes nothing."""
    created = await official.ask("create", **plain())
    for name, (call, arguments, status) in BAD_REQUESTS.items():
        with pytest.raises(PeerError, match=f"{call}: {status}"):
            pytest.fail(f"{name}: {await official.ask(call, **arguments)}")
    assert await official.ask("list") == [[created]]


@within(30)
async def test_wrong_key(service: OurService) -> None:
    async with start_script("official_client", service.url, "another-key") as intruder:
        for call, arguments in (("list", {}), ("create", plain()), ("delete", {"id": 1})):
            with pytest.raises(PeerError, match="UNAUTHENTICATED"):
                await intruder.ask(call, **arguments)


@within(30)
async def test_signed_requests(tmp_path: Path) -> None:
    """Its signatures are what we take, and only those."""
    keys = Keys([Key(KEY, secret="a-secret")])
    async with serve_here(tmp_path / "signed.db", keys) as service:
        async with start_script("official_client", service.url, KEY, "a-secret") as official:
            created = await official.ask("create", **plain())
            assert await official.ask("list") == [[created]]
        for secret in (["another-secret"], []):
            async with start_script("official_client", service.url, KEY, *secret) as intruder:
                with pytest.raises(PeerError, match="UNAUTHENTICATED"):
                    await intruder.ask("list")


@within(30)
async def test_our_dispatcher_sees_what_it_does(official: Peer, service: OurService) -> None:
    async with open_dispatcher(
        microgrid_id=MICROGRID, server_url=service.url, key=KEY
    ) as dispatcher:
        statuses = dispatcher.running_status_change.new_receiver(type="CHARGE")
        created = await official.ask("create", **plain(start_time="NOW", duration=3600))
        status = await statuses.receive()
        assert status.running() is RunningState.RUNNING
        assert as_shown(dispatcher.dispatches[status.id]) == created
        await official.ask("update", id=created["id"], payload={"power": 5.0})
        assert (await statuses.receive()).payload == {"power": 5.0}
        await official.ask("delete", id=created["id"])
        assert (await statuses.receive()).running() is RunningState.STOPPED


@within(30)
async def test_what_is_stored_survives(tmp_path: Path) -> None:
    """The service is killed and started again, this time as a user would."""
    db = tmp_path / "dispatches.db"
    async with serve(db) as first, start_script("official_client", first.url, KEY) as official:
        for fields in DISPATCHES:
            await official.ask("create", **fields)
        before = await official.ask("list")
        assert first.peer is not None
        await first.peer.kill()
    async with serve(db) as again, start_script("official_client", again.url, KEY) as official:
        assert await official.ask("list") == before
