"""Lists: pages while their content changes, tokens, limits; on both stores."""

from __future__ import annotations

import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.service import OpenStore, data, wired
from trio_dispatch.api import wire
from trio_dispatch.api.codec import WIRE, payload_to_wire, time_from_nanos, time_to_nanos
from trio_dispatch.api.wire import Interval, PaginationParams
from trio_dispatch.model.dispatch import Dispatch
from trio_dispatch.model.events import EventKind
from trio_dispatch.service import InvalidRequestError, Store
from trio_dispatch.service.listing import encode_page_token, read_query
from trio_dispatch.service.store import MemoryStore, queries
from trio_dispatch.service.store.queries import Filter, Page, SortKey
from trio_dispatch.service.store.rows import Row

List = wire.ListMicrogridDispatchesRequest
BY_UPDATE = wire.SortField.LAST_UPDATE_TIME
BY_START = wire.SortField.START_TIME
ASCENDING, DESCENDING = wire.SortOrder.ASCENDING, wire.SortOrder.DESCENDING
NOW = 1_767_225_600 * 10**9


def request(token: str | None = None, size: int | None = None, **fields: Any) -> List:
    params = PaginationParams(page_token=token) if token else PaginationParams(page_size=size)
    return List(microgrid_id=fields.pop("microgrid_id", 1), pagination_params=params, **fields)


def ordered(field: wire.SortField, order: wire.SortOrder) -> dict[str, Any]:
    return {"sort_options": wire.SortOptions(sort_field=field, sort_order=order)}


async def fill(store: Store, number: int, **changes: Any) -> None:
    for index in range(number):
        # The order by start time differs from the order by create time.
        start = time_from_nanos(NOW + index * 7919 % 101 * 10**9)
        await store.create(1, data(start_time=start, **changes), now=NOW + index)


async def touch(store: Store, id_: int, now: int) -> None:
    def edit(old: wire.DispatchData) -> wire.DispatchData:
        assert old.start_time is not None
        old.is_active = not old.is_active
        old.start_time = time_from_nanos(now * 31 % 10**18)
        return old

    await store.update(1, id_, edit, now=now)


def token_of(page: Page) -> str:
    assert page.following is not None
    return encode_page_token(page.following)


def ids_of(page: Page) -> list[int]:
    decoded = [WIRE.decode(message, wire.Dispatch).metadata for message in page.messages]
    return [metadata.dispatch_id for metadata in decoded if metadata is not None]


async def all_ids(store: Store, first: List) -> list[int]:
    page = await store.list(read_query(first))
    ids = ids_of(page)
    while page.following is not None:
        page = await store.list(read_query(request(token_of(page))))
        ids += ids_of(page)
    return ids


@pytest.mark.parametrize("order", [ASCENDING, DESCENDING])
@pytest.mark.parametrize("field", [wire.SortField.CREATE_TIME, BY_START, BY_UPDATE])
async def test_a_walk_lists_each_dispatch_once_while_others_change(
    store: Store, field: wire.SortField, order: wire.SortOrder
) -> None:
    await fill(store, 24)
    snapshot = await all_ids(store, request(**ordered(field, order)))
    assert sorted(snapshot) == list(range(1, 25))
    page = await store.list(read_query(request(size=4, **ordered(field, order))))
    walked = ids_of(page)
    now = NOW + 10**9
    deleted = set()
    while page.following is not None:
        # Every dispatch moves, some of them often; one is deleted, and one is created.
        for id_ in range(1, 25):
            if id_ not in deleted:
                now += 1
                await touch(store, id_, now)
        await touch(store, walked[-1], now + 1)
        gone = snapshot[len(walked) + 2] if len(walked) + 2 < len(snapshot) else walked[0]
        if gone not in deleted:
            await store.delete(1, gone)
            deleted.add(gone)
        await store.create(1, data(), now=now)
        page = await store.list(read_query(request(token_of(page))))
        assert page.total == 24  # as at the snapshot
        walked += ids_of(page)
    unread = deleted - set(walked)
    assert walked == [id_ for id_ in snapshot if id_ not in unread]


async def test_a_walk_continues_after_too_many_changes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "REMEMBERED_CHANGES", 5)
    await fill(store, 10)
    page = await store.list(read_query(request(size=3, **ordered(BY_UPDATE, DESCENDING))))
    assert ids_of(page) == [10, 9, 8]
    for number in range(30):
        await touch(store, 1, NOW + 10**9 + number)
    rest = await all_ids(store, request(token_of(page)))
    assert rest == [7, 6, 5, 4, 3, 2]  # 1 has moved to the front


async def test_a_page_token_is_valid_after_a_restart(open_any_store: OpenStore) -> None:
    async with open_any_store() as store:
        await fill(store, 9)
        page = await store.list(read_query(request(size=3)))
        if isinstance(store, MemoryStore):
            return
    async with open_any_store() as store:
        await store.create(1, data(), now=NOW + 10**9)
        assert await all_ids(store, request(token_of(page))) == [6, 5, 4, 3, 2, 1]


async def test_page_sizes(store: Store) -> None:
    await fill(store, 120)
    assert len(ids_of(await store.list(read_query(request())))) == 100
    assert len(ids_of(await store.list(read_query(request(size=0))))) == 100
    assert len(ids_of(await store.list(read_query(request(size=119))))) == 119
    last = await store.list(read_query(request(size=120)))
    assert last.following is None
    assert read_query(request(size=2**32 - 1)).page_size == 1000
    assert read_query(List(microgrid_id=1)).page_size == 100


async def test_a_page_fits_into_a_message_of_a_default_client(store: Store) -> None:
    await fill(store, 70, payload=payload_to_wire({"x": "y" * 50_000}))
    page = await store.list(read_query(request(size=1000)))
    assert 1_900_000 < sum(map(len, page.messages)) <= 2 * 1024 * 1024
    assert page.total == 70
    assert await all_ids(store, request(size=1000)) == list(range(70, 0, -1))


async def test_a_dispatch_without_end_passes_ranges_without_end(store: Store) -> None:
    await store.create(1, data(duration=None), now=NOW)
    await store.create(1, data(duration=60), now=NOW)

    async def passing(low: int | None, high: int | None) -> list[int]:
        interval = Interval(
            start_time=None if low is None else time_from_nanos(low),
            end_time=None if high is None else time_from_nanos(high),
        )
        return await all_ids(store, request(filter=wire.DispatchFilter(end_time_interval=interval)))

    start = data().start_time
    assert start is not None
    end = time_to_nanos(start) + 60 * 10**9
    assert await passing(None, None) == [2, 1]
    assert await passing(end, None) == [2, 1]
    assert await passing(end + 1, None) == [1]
    assert await passing(None, end + 1) == [2]
    assert await passing(None, end) == []
    assert await passing(end, 253_402_300_799 * 10**9) == [2]


def target(ids: list[int]) -> wire.TargetComponents:
    return wire.TargetComponents(component_ids=wire.TargetComponentsIdSet(ids=ids))


def categories(*numbers: int) -> wire.TargetComponents:
    return wire.TargetComponents(
        component_categories=wire.TargetComponentsCategorySet(
            categories=[listing_category(number) for number in numbers]
        )
    )


def typed(*numbers: int, battery: int | None = None) -> wire.TargetComponents:
    return wire.TargetComponents(
        component_categories_types=wire.TargetComponentsCategoryTypeSet(
            categories=[
                wire.TargetComponentsCategoryAndType(
                    category=listing_category(number),
                    **({} if battery is None else {"battery": battery}),  # type: ignore[arg-type]
                )
                for number in numbers
            ]
        )
    )


def listing_category(number: int) -> Any:
    field = cast(Any, wire.TargetComponentsCategorySet)._betterproto.cls_by_field["categories"]
    return field(number)


async def test_targets_are_equal_in_any_order(store: Store) -> None:
    for sent in (
        target([3, 1, 2]),
        target([1, 2]),
        categories(5, 4711),
        typed(4711, 5),
        typed(5, battery=1),
    ):
        await store.create(1, data(target=sent), now=NOW)

    async def having(*targets: wire.TargetComponents) -> list[int]:
        filter_ = wire.DispatchFilter(targets=[*targets])
        return sorted(await all_ids(store, request(filter=filter_)))

    assert await having(target([2, 3, 1, 1])) == [1]
    assert await having(target([1, 2]), target([3, 2, 1]), target([4])) == [1, 2]
    assert await having(categories(4711, 5)) == [3, 4]
    assert await having(typed(5, battery=1)) == [5]
    assert await having(typed(5)) == []


async def test_filters_by_recurring_and_dry_run(store: Store) -> None:
    daily = wire.RecurrenceRule(freq=wire.RecurrenceRuleFrequency.DAILY, interval=1)
    await store.create(1, data(recurrence=daily), now=NOW)
    await store.create(1, data(recurrence=wire.RecurrenceRule(byhours=[1])), now=NOW)
    await store.create(1, data(is_dry_run=True), now=NOW)
    for filter_, expected in (
        (wire.DispatchFilter(is_recurring=True), [1]),
        (wire.DispatchFilter(is_recurring=False), [3, 2]),
        (wire.DispatchFilter(filter=wire.DispatchFilterRecurrenceFilter()), [3, 2, 1]),
        (wire.DispatchFilter(is_dry_run=True), [3]),
    ):
        assert await all_ids(store, request(filter=filter_)) == expected


async def test_many_ids_queries_and_targets(store: Store) -> None:
    await fill(store, 3)
    filter_ = wire.DispatchFilter(
        dispatch_ids=[*range(2, 10_002)],
        queries=[f"#{number}" for number in range(100)],
        targets=[target([number]) for number in range(1000)],
    )
    assert await all_ids(store, request(filter=filter_)) == [3, 2]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"filter": wire.DispatchFilter(dispatch_ids=[1] * 10_001)}, "filter.dispatch_ids"),
        ({"filter": wire.DispatchFilter(queries=["x"] * 101)}, "filter.queries"),
        ({"filter": wire.DispatchFilter(targets=[target([1])] * 1001)}, "filter.targets"),
        ({"filter": wire.DispatchFilter(queries=["x" * 257])}, "filter.queries"),
        ({"filter": wire.DispatchFilter(queries=["#" + "1" * 256])}, "filter.queries"),
        ({"filter": wire.DispatchFilter(targets=[target([*range(1000)])] * 100)}, "filter"),
        (ordered(wire.SortField(4), ASCENDING), "sort_options.sort_field"),
        (ordered(BY_START, wire.SortOrder(3)), "sort_options.sort_order"),
    ],
)
def test_an_invalid_list_request_names_the_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_query(request(**fields))
    assert caught.value.field == field


@pytest.mark.parametrize("sort", [{}, ordered(BY_UPDATE, ASCENDING)])
async def test_a_following_page_looks_at_its_own_dispatches_only(
    store: Store, sort: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, 300)
    later = wire.DispatchFilter(end_time_interval=Interval(start_time=time_from_nanos(NOW)))
    page = await store.list(read_query(request(size=10, filter=later, **sort)))
    looked_at = 0
    passes = Filter.passes

    def counting(self: Filter, row: Row) -> bool:
        nonlocal looked_at
        looked_at += 1
        return passes(self, row)

    def no_count(query: object) -> None:
        raise AssertionError("the dispatches were counted again")

    monkeypatch.setattr(Filter, "passes", counting)
    if not isinstance(store, MemoryStore):
        monkeypatch.setattr("trio_dispatch.service.store.sqlite.count_of", no_count)
    for _ in range(5):
        page = await store.list(read_query(request(token_of(page))))
        assert page.total == 300
    assert looked_at <= 5 * 11


async def test_dispatches_that_exceed_a_clients_limit_are_listed(
    store: Store, autojump_clock: MockClock
) -> None:
    """Older versions stored dispatches of up to 4 MiB, and a list must not fail because of one."""
    await fill(store, 2)
    for id_, size in ((3, 3_000_000), (4, 4 * 2**20 - 60)):
        metadata = wire.DispatchMetadata(dispatch_id=id_, create_time=time_from_nanos(NOW))
        old = wire.Dispatch(metadata=metadata, data=data(type="x" * size))
        await store.put(1, old)
    async with wired(store) as service, service.client() as client, client.stream(1) as events:
        found = {each.id: each async for page in client.list(1) for each in page}
        types = {id_: each.type for id_, each in found.items() if isinstance(each, Dispatch)}
        assert types == {1: "CHARGE", 2: "CHARGE", 3: "x" * 3_000_000, 4: "TOO LARGE"}
        assert not (await client.get(1, 4)).active
        updated = await client.update(1, 4, active=False)
        assert updated.type == "TOO LARGE"
        await client.delete(1, 4)
        kinds = [(await anext(events)).kind for _ in range(2)]
        assert kinds == [EventKind.UPDATED, EventKind.DELETED]


async def test_queries_look_at_the_beginning_of_a_type(store: Store) -> None:
    for id_, type_ in ((1, "A" * 255 + "B"), (2, "A" * 256 + "B")):
        metadata = wire.DispatchMetadata(dispatch_id=id_)
        await store.put(1, wire.Dispatch(metadata=metadata, data=data(type=type_)))
    for query, expected in (("AB", [1]), ("A", [2, 1])):
        filter_ = wire.DispatchFilter(queries=[query])
        assert await all_ids(store, request(filter=filter_)) == expected


# Tokens.


async def a_token(store: Store, **fields: Any) -> str:
    page = await store.list(read_query(request(size=1, **fields)))
    assert page.following is not None
    return token_of(page)


async def test_a_page_token_is_valid_for_its_list_only(store: Store) -> None:
    await fill(store, 3)
    filter_ = wire.DispatchFilter(is_active=True)
    token = await a_token(store, filter=filter_, **ordered(BY_START, ASCENDING))
    bare = read_query(request(token))
    assert bare == read_query(request(token, filter=filter_, **ordered(BY_START, ASCENDING)))
    assert (bare.sort_key, bare.descending, bare.page_size) == (SortKey.START_TIME, False, 1)
    for wrong in (
        {"microgrid_id": 2},
        {"filter": wire.DispatchFilter(is_active=False)},
        ordered(BY_START, DESCENDING),
        ordered(BY_UPDATE, ASCENDING),
    ):
        with pytest.raises(InvalidRequestError, match=r"pagination_params\.page_token belongs"):
            read_query(request(token, **wrong))


def made(content: Any) -> str:
    body = json.dumps(content).encode()
    return urlsafe_b64encode(zlib.crc32(body).to_bytes(4, "big") + body).decode()


GOOD = [2, 1, "create_time", True, 10, 5, 99, NOW, 7, ""]


def other(index: int, value: Any) -> str:
    return made([*GOOD[:index], value, *GOOD[index + 1 :]])


def test_a_well_formed_page_token_is_accepted() -> None:
    assert read_query(request(made(GOOD))).after == (NOW, 7)


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "nonsense!",
        "ü",
        "A" * 1_000_001,
        made(GOOD)[:-4],
        made(GOOD).swapcase(),
        made({}),
        made([]),
        made(GOOD[:-1]),
        other(0, 1),
        other(2, "id"),
        other(3, 1),
        other(4, 0),
        other(4, 1001),
        other(5, -1),
        other(5, 1 << 63),
        other(6, -1),
        other(6, 1 << 32),
        other(7, 1e3),
        other(7, 10**30),
        other(7, -(10**30)),
        other(8, -1),
        other(8, 1 << 64),
        other(9, "0"),
        other(9, "ff"),
        other(9, "08"),
    ],
)
def test_a_malformed_page_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not a page token of this service"):
        read_query(request(token))


async def test_an_altered_page_token_is_refused(store: Store) -> None:
    await fill(store, 3)
    token = await a_token(store)
    raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for index in range(len(raw)):
        altered = raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]
        with pytest.raises(InvalidRequestError):
            read_query(request(urlsafe_b64encode(altered).decode()))
    await trio.lowlevel.checkpoint()
