"""Every way in which a list and a stream can disagree."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from trio_dispatch.clock import VIRTUAL_START as NOW
from trio_dispatch.dispatcher.mirror import Listed, Mirror
from trio_dispatch.model.dispatch import Dispatch
from trio_dispatch.model.events import Created, Deleted, LifecycleEvent, Updated
from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule
from trio_dispatch.model.times import time_from_nanos, time_to_nanos
from trio_dispatch.model.undecodable import Undecodable
from trio_dispatch.testing.factory import make_dispatch

HOUR = timedelta(hours=1)


def version(number: int, id_: int = 1, *, updated: int | None = None) -> Dispatch:
    """A dispatch with a version number in its payload and its update time."""
    time = NOW + timedelta(seconds=number if updated is None else updated)
    return make_dispatch(id_, payload={"version": number}, update_time=time)


def reported(events: list[LifecycleEvent]) -> list[tuple[type, int, object]]:
    return [
        (type(event), event.dispatch.id, event.dispatch.payload.get("version")) for event in events
    ]


def whole_list(mirror: Mirror, *dispatches: Dispatch | Undecodable) -> list[LifecycleEvent]:
    mirror.begin_list(NOW)
    events = mirror.page(dispatches)
    return events + mirror.confirm(mirror.end_list().missing, [])


def test_stream_creates_updates_and_deletes() -> None:
    mirror = Mirror()
    assert reported(mirror.changed(version(1))) == [(Created, 1, 1)]
    assert reported(mirror.changed(version(2))) == [(Updated, 1, 2)]
    assert mirror.dispatches == {1: version(2)}
    (event,) = mirror.deleted(version(2))
    assert event == Deleted(replace(version(2), deleted=True))
    assert mirror.dispatches == {}


def test_same_content_is_no_event() -> None:
    mirror = Mirror()
    mirror.changed(version(1))
    assert mirror.changed(version(1)) == []
    assert whole_list(mirror, version(1)) == []


def test_stream_beats_update_times() -> None:
    mirror = Mirror()
    mirror.changed(version(1, updated=100))
    assert reported(mirror.changed(version(2, updated=5))) == [(Updated, 1, 2)]


def test_page_replaces_what_the_stream_has_not_touched() -> None:
    mirror = Mirror()
    mirror.changed(version(2))
    mirror.begin_list(NOW)
    assert reported(mirror.page([version(1)])) == [(Updated, 1, 1)]


def test_page_replaces_what_the_stream_touched_only_if_newer() -> None:
    mirror = Mirror()
    mirror.begin_list(NOW)
    mirror.changed(version(2))
    assert mirror.page([version(1)]) == []
    assert reported(mirror.page([version(3)])) == [(Updated, 1, 3)]


def test_newer_is_decided_to_the_nanosecond() -> None:
    mirror = Mirror()
    mirror.begin_list(NOW)
    four, five, six = (
        replace(version(1), update_time=time_from_nanos(time_to_nanos(NOW) + nanos))
        for nanos in (4, 5, 6)
    )
    mirror.changed(five)
    assert mirror.page([four]) == []
    assert len(mirror.page([six])) == 1


def test_deletion_beats_every_page_of_a_list_that_began_before() -> None:
    mirror = Mirror([version(1)])
    mirror.begin_list(NOW)
    mirror.page([version(1)])
    assert reported(mirror.deleted(version(1))) == [(Deleted, 1, 1)]
    assert mirror.page([version(9)]) == []
    assert mirror.confirm(mirror.end_list().missing, [version(9)]) == []
    # A list that begins later is believed.
    mirror.begin_list(NOW)
    assert reported(mirror.page([version(9)])) == [(Created, 1, 9)]


def test_deletion_of_an_unknown_dispatch_is_no_event_and_beats_pages() -> None:
    mirror = Mirror()
    mirror.begin_list(NOW)
    assert mirror.deleted(version(1)) == []
    assert mirror.page([version(1)]) == []
    assert reported(mirror.changed(version(2))) == [(Created, 1, 2)]


def test_missing_dispatch_is_deleted_only_when_confirmed() -> None:
    mirror = Mirror([version(1, 1), version(1, 2), version(1, 3)])
    mirror.begin_list(NOW)
    mirror.page([version(1, 1)])
    assert mirror.end_list() == Listed((), (2, 3))
    assert reported(mirror.confirm((2, 3), [version(2, 3)])) == [(Updated, 3, 2), (Deleted, 2, 1)]
    assert mirror.dispatches.keys() == {1, 3}


def test_dispatch_that_the_stream_touched_is_not_missing() -> None:
    mirror = Mirror([version(1, 1), version(1, 2)])
    mirror.begin_list(NOW)
    mirror.changed(version(2, 1))
    (missing,) = mirror.end_list().missing
    assert missing == 2
    mirror.changed(version(2, 2))
    assert mirror.confirm((2,), []) == []
    assert mirror.dispatches.keys() == {1, 2}


def test_broken_off_list_deletes_nothing() -> None:
    mirror = Mirror([version(1, 1), version(1, 2)])
    mirror.begin_list(NOW)
    mirror.page([version(1, 1)])
    assert whole_list(mirror, version(1, 1), version(1, 2)) == []


def test_undecodable_dispatch_counts_as_seen() -> None:
    mirror = Mirror([version(1)])
    assert whole_list(mirror, Undecodable(1, "?")) == []
    # If not even its id can be read, it may be any.
    assert whole_list(mirror, Undecodable(None, "?")) == []
    assert mirror.dispatches == {1: version(1)}
    mirror.begin_list(NOW)
    (missing,) = mirror.end_list().missing
    assert mirror.confirm((missing,), [Undecodable(None, "?")]) == []


def test_undecodable_deletion_deletes() -> None:
    mirror = Mirror([version(1)])
    assert reported(mirror.deleted(Undecodable(1, "?"))) == [(Deleted, 1, 1)]
    assert mirror.deleted(Undecodable(None, "?")) == []


@pytest.mark.parametrize("later", ["update", "delete", "list"])
def test_expired_dispatch_is_no_event(later: str) -> None:
    mirror = Mirror()
    ended = make_dispatch(start_time=NOW - 3 * HOUR)
    mirror.changed(ended)
    mirror.begin_list(NOW - HOUR)
    assert mirror.end_list() == Listed((1,), ())
    assert mirror.dispatches == {}
    if later == "update":
        assert reported(mirror.changed(version(2))) == [(Updated, 1, 2)]
    elif later == "list":
        assert reported(whole_list(mirror, version(2))) == [(Updated, 1, 2)]
    else:
        assert reported(mirror.deleted(ended)) == [(Deleted, 1, None)]
        assert mirror.deleted(ended) == []


@pytest.mark.parametrize(
    ("fields", "expired"),
    [
        ({"duration": None}, False),
        ({"recurrence": RecurrenceRule(Frequency.DAILY)}, False),
        ({"duration": HOUR * 2 + timedelta(seconds=1)}, False),
        ({"duration": HOUR * 2}, True),
        ({"recurrence": RecurrenceRule(Frequency.HOURLY, end_criteria=EndCriteria(count=2))}, True),
        (
            {"recurrence": RecurrenceRule(Frequency.HOURLY, end_criteria=EndCriteria(count=3))},
            False,
        ),
    ],
    ids=str,
)
def test_only_dispatches_that_ended_before_the_bound_expire(
    fields: dict[str, Any], *, expired: bool
) -> None:
    mirror = Mirror([make_dispatch(start_time=NOW - 3 * HOUR, **fields)])
    mirror.begin_list(NOW - HOUR)
    assert mirror.end_list() == (Listed((1,), ()) if expired else Listed((), (1,)))


@pytest.mark.parametrize("seed", range(200))
def test_mirror_equals_the_service_after_a_whole_list(seed: int) -> None:
    """A service that changes while it is listed, with a stream that never falls behind."""
    rng = random.Random(seed)
    service: dict[int, Dispatch] = {}
    mirror = Mirror()
    folded: dict[int, Dispatch] = {}
    number = 0

    def fold(events: list[LifecycleEvent]) -> None:
        for event in events:
            known = event.dispatch.id in folded
            assert known != isinstance(event, Created)
            if isinstance(event, Deleted):
                del folded[event.dispatch.id]
            else:
                assert folded.get(event.dispatch.id) != event.dispatch
                folded[event.dispatch.id] = event.dispatch

    def change(*, streamed: bool) -> None:
        nonlocal number
        number += 1
        id_ = rng.randint(1, 8)
        if id_ in service and rng.random() < 0.4:
            gone = service.pop(id_)
            if streamed:
                fold(mirror.deleted(gone))
        else:
            service[id_] = version(number, id_)
            if streamed:
                fold(mirror.changed(service[id_]))

    for _ in range(rng.randint(0, 30)):
        change(streamed=False)
    lists = rng.randint(1, 3)
    while lists:  # between two of them the stream is lost
        mirror.begin_list(NOW - HOUR)
        while rng.random() < 0.3:
            change(streamed=True)
        offset = 0
        while True:
            # Pages by offset: what is deleted meanwhile makes the next page skip a row.
            page = [service[id_] for id_ in sorted(service)][offset : offset + 2]
            while rng.random() < 0.4:
                change(streamed=True)
            fold(mirror.page(page))
            while rng.random() < 0.4:
                change(streamed=True)
            if not page:
                break
            offset += 2
        listed = mirror.end_list()
        missing = listed.missing
        found = [service[id_] for id_ in missing if id_ in service]
        while rng.random() < 0.4:
            change(streamed=True)
        fold(mirror.confirm(missing, found))
        if listed.doubtful:
            continue
        assert mirror.dispatches == service == folded
        lists -= 1
        while rng.random() < 0.7:
            change(streamed=False)


def test_list_with_fewer_dispatches_than_the_service_counted_is_short() -> None:
    # A deletion that is still on its way made the second page skip a row.
    mirror = Mirror()
    mirror.begin_list(NOW)
    mirror.page([version(1, 1)], 3)
    mirror.page([version(1, 3)], 2)
    listed = mirror.end_list()
    assert listed.short
    assert not listed.doubtful
    mirror.begin_list(NOW)
    mirror.page([version(1, 2)], 2)
    mirror.page([version(1, 3)], 2)
    assert not mirror.end_list().short


def test_deletion_between_pages_makes_a_list_doubtful() -> None:
    mirror = Mirror()
    mirror.begin_list(NOW)
    mirror.page([version(1, 1)])
    mirror.deleted(version(1, 1))
    mirror.page([version(1, 3)])
    assert mirror.end_list().doubtful
    # A list of one page has passed over nothing.
    mirror.begin_list(NOW)
    mirror.deleted(version(1, 3))
    mirror.page([version(1, 2)])
    assert not mirror.end_list().doubtful
