"""What a plan changes, as a pure function: applied once, nothing is left to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.effort import cases
from trio_dispatch import Dispatch, EndCriteria, Frequency, RecurrenceRule, TargetIds
from trio_dispatch.cli.plans.matching import (
    Create,
    Delete,
    Known,
    Matching,
    Update,
    Wanted,
    is_over,
    match,
)

NOW = datetime(2027, 3, 10, 12, 0, 30, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def dispatch(id: int = 0, **fields: Any) -> Dispatch:
    defaults: dict[str, Any] = {
        "type": "CHARGE",
        "start_time": NOW + HOUR,
        "duration": HOUR,
        "target": TargetIds(1),
        "create_time": NOW - DAY + timedelta(microseconds=id),
    }
    return Dispatch(id=id, **defaults | fields)


def want(*contents: Dispatch, **fields: Any) -> list[Wanted]:
    return [Wanted(place=f"plan:{n}", dispatch=each, **fields) for n, each in enumerate(contents)]


def carried_out(
    present: dict[int, Dispatch], found: Matching, became: dict[str, Known]
) -> dict[int, Dispatch]:
    """What a service has after the changes, and what the plan then remembers."""
    after = dict(present)
    became |= {each.place: Known.of(dispatch) for each, dispatch in found.pairs}
    for change in found.changes:
        match change:
            case Create(wanted, content, at_once):
                id_ = max(after, default=0) + 1
                start = NOW.replace(microsecond=0) if at_once else content.start_time
                assert at_once or start >= NOW, "the service refuses a start in the past"
                after[id_] = replace(content, id=id_, start_time=start, create_time=NOW)
                became[wanted.place] = Known.of(after[id_])
            case Update(_, before, values):
                assert values
                assert values.get("start_time", NOW) >= NOW
                after[before.id] = change.after
            case Delete(before):
                del after[before.id]
    return after


contents = st.builds(
    dispatch,
    type=st.sampled_from("AB"),
    dry_run=st.booleans(),
    active=st.booleans(),
    start_time=st.sampled_from([-30, -1, -0.01, 0, 0.5, 1, 40]).map(lambda days: NOW + days * DAY),
    duration=st.sampled_from([None, timedelta(), HOUR, 2 * DAY]),
    target=st.sampled_from([TargetIds(1), TargetIds(1, 2)]),
    payload=st.sampled_from([{}, {"power_kw": 5}]),
    recurrence=st.none()
    | st.builds(
        RecurrenceRule,
        st.sampled_from([Frequency.DAILY, Frequency.WEEKLY]),
        interval=st.sampled_from([1, 3]),
        byhours=st.sampled_from([(), (12,), (18, 6)]),
        end_criteria=st.none()
        | st.sampled_from([2, 30, 40]).map(lambda count: EndCriteria(count=count))
        | st.sampled_from([-2, 5, 50]).map(lambda days: EndCriteria(until=NOW + days * DAY)),
    ),
)


@settings(max_examples=cases(200, long=20_000))
@given(st.data())
def test_once_applied_nothing_is_left_to_do(data: st.DataObject) -> None:
    pool = data.draw(st.lists(contents, min_size=1, max_size=4))
    some = st.lists(st.sampled_from(pool) | contents, max_size=5)
    present = {
        id_: replace(each, id=id_, create_time=NOW - timedelta(days=9, seconds=id_))
        for id_, each in enumerate(data.draw(some), 1)
    }
    all_known: list[Known | None] = [None, *map(Known.of, present.values())]
    known = st.sampled_from(all_known)
    wanted = [
        Wanted(
            place=str(n),
            dispatch=replace(each, id=0),
            id=data.draw(st.none() | st.integers(1, 7)),
            known=data.draw(known),
        )
        for n, each in enumerate(data.draw(some))
    ]
    ids = [each.id for each in wanted]
    wanted = [
        replace(each, id=None) if each.id in ids[:n] else each for n, each in enumerate(wanted)
    ]
    own = {each.known for each in wanted if each.known}
    prune = data.draw(st.booleans())
    found = match(wanted, present.values(), now=NOW, own=own, prune=prune)

    became: dict[str, Known] = {}
    after = carried_out(present, found, became)
    wanted = [replace(each, known=became.get(each.place)) for each in wanted]
    own |= {*became.values()}
    again = match(wanted, after.values(), now=NOW, own=own, prune=prune)
    assert again.changes == []
    assert len(again.over) == len(found.over)
    # Without what the plan does not have, the rest is what it wants, as often as it wants it.
    rest = Counter(meaning(after[each.id]) for each in after.values() if each not in again.extra)
    expected = Counter(meaning(each.dispatch) for each in wanted if each not in again.over)
    assert rest == expected
    assert not (prune and again.extra)
    # Only what the plan changes is changed.
    touched = {each.before.id for each in found.changes if not isinstance(each, Create)}
    assert {id_: each for id_, each in present.items() if id_ not in touched}.items() <= (
        after.items()
    )


def meaning(each: Dispatch) -> Hashable:
    """What a dispatch does from now on."""
    rule = each.effective_recurrence
    starts: list[datetime | None] = []
    moment: datetime | None = NOW
    while moment is not None and len(starts) < 60:
        moment = each.first_after(moment, inclusive=not starts)
        starts.append(moment)
    if each.duration is None:
        starts = [max(each.start_time, NOW + timedelta(seconds=5))]
    if is_over(each, NOW):
        return each.type, each.dry_run, "over"
    return (
        each.type, each.dry_run, each.active, each.duration, each.target, each.payload,
        tuple(starts), rule is None,
    )  # fmt: skip


def changes(found: Matching) -> list[object]:
    """The changes in short: what is created, (id, fields) of updates, ids of what is deleted."""
    short: list[object] = []
    for change in found.changes:
        match change:
            case Create(_, content, _):
                short.append(content.type)
            case Update(_, before, values):
                short.append((before.id, dict(values)))
            case Delete(before):
                short.append(before.id)
    return short


FIVE, SEVEN = {"power_kw": 5}, {"power_kw": 7}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"payload": FIVE}, [(1, {"payload": FIVE})]),
        ({"active": False, "duration": None}, [(1, {"duration": None, "active": False})]),
        ({"target": TargetIds(2)}, [(1, {"target": TargetIds(2)})]),
        ({"type": "HEAT"}, ["HEAT", 1]),
        ({"dry_run": True}, ["CHARGE", 1]),
    ],
)
def test_the_dispatch_with_the_id_is_changed_or_replaced(
    fields: dict[str, Any], expected: list[object]
) -> None:
    wanted = want(dispatch(**fields), id=1)
    assert changes(match(wanted, [dispatch(1)], now=NOW, prune=True)) == expected


def test_an_id_that_a_service_has_given_to_another_dispatch() -> None:
    """The time of creation in an export, or what the plan remembers, tells."""
    present = [dispatch(1, payload=SEVEN)]
    created = int(present[0].create_time.timestamp())
    content = dispatch(payload=FIVE)
    assert changes(match(want(content, id=1, created=created), present, now=NOW)) == [
        (1, {"payload": FIVE})
    ]
    assert changes(match(want(content, id=1, created=created - 9), present, now=NOW)) == ["CHARGE"]
    became = dispatch(8, payload=FIVE)
    known = Known.of(became)
    remembering = want(content, id=1, known=known)
    assert changes(match(remembering, [*present, became], now=NOW, own=[known])) == []
    other = Known(1, known.created)
    assert changes(match(want(content, known=other), present, now=NOW, own=[other])) == ["CHARGE"]


def test_what_was_applied_before_is_changed_rather_than_replaced() -> None:
    present = [dispatch(1, payload=FIVE), dispatch(2, payload=SEVEN), dispatch(3, payload={"p": 9})]
    first, second = map(Known.of, present[:2])

    def changed(*wanted: Wanted, prune: bool = False) -> list[object]:
        found = match(wanted, present, now=NOW, own=[first, second], prune=prune)
        return changes(found)

    def named(known: Known | None, **fields: Any) -> Wanted:
        return Wanted(place="", dispatch=dispatch(**fields), known=known)

    edited = {"payload": {"power_kw": 6}}
    assert changed(named(first, **edited), named(second, payload=SEVEN)) == [(1, edited)]
    # Names that were exchanged, or a renamed entry, change nothing.
    assert changed(named(second, payload=FIVE), named(first, payload=SEVEN)) == []
    assert changed(named(None, payload=FIVE), named(second, payload=SEVEN)) == []
    # Without a name, or with another one, the plan's own dispatch of that target is changed.
    assert changed(named(None, **edited), named(second, payload=SEVEN)) == [(1, edited)]
    # Somebody else's is left alone without prune, and changed before anything is deleted with it.
    both = named(first, payload=FIVE), named(second, payload=SEVEN)
    assert changed(*both, named(None, **edited)) == ["CHARGE"]
    assert changed(*both, named(None, **edited), prune=True) == [(3, edited)]
    assert changed(*both, named(None, target=TargetIds(2)), prune=True) == ["CHARGE", 3]


def test_equal_dispatches_are_counted() -> None:
    present = [dispatch(1), dispatch(2), dispatch(3)]
    assert changes(match(want(*[dispatch()] * 4), present, now=NOW, prune=True)) == ["CHARGE"]
    assert changes(match(want(*[dispatch()] * 2), present, now=NOW, prune=True)) == [3]
    found = match(want(dispatch()), present, now=NOW)
    assert (found.changes, [each.id for each in found.extra]) == ([], [2, 3])


DAILY = RecurrenceRule(Frequency.DAILY, byhours=(12,), byminutes=(0,))
NEXT = NOW.replace(day=11, minute=0, second=0)
PAST: dict[str, Any] = {"start_time": NEXT - 10 * DAY, "recurrence": DAILY}


def test_what_began_in_the_past_is_created_from_its_next_occurrence_on() -> None:
    (change,) = match(want(dispatch(**PAST)), [], now=NOW).changes
    assert isinstance(change, Create)
    assert (change.content.start_time, change.content.recurrence) == (NEXT, DAILY)
    later = [dispatch(1, start_time=NEXT, recurrence=DAILY)]
    for days in (0, 3, 300):
        assert match(want(dispatch(**PAST)), later, now=NOW + days * DAY).changes == []
    counted = RecurrenceRule(Frequency.DAILY, end_criteria=EndCriteria(count=30))
    (change,) = match(want(dispatch(**PAST | {"recurrence": counted})), [], now=NOW).changes
    assert isinstance(change, Create)
    assert change.content.last_end() == dispatch(**PAST | {"recurrence": counted}).last_end()


def test_a_start_in_the_past_is_not_changed_unless_it_matters() -> None:
    wanted = want(dispatch(**PAST, payload=FIVE), id=1)
    present = [dispatch(1, start_time=NEXT - 5 * DAY, recurrence=DAILY)]
    assert changes(match(wanted, present, now=NOW)) == [(1, {"payload": FIVE})]
    hourly = RecurrenceRule(Frequency.HOURLY)
    present = [dispatch(1, start_time=NEXT - 5 * DAY, recurrence=hourly, payload=FIVE)]
    assert changes(match(wanted, present, now=NOW)) == [(1, {"recurrence": DAILY})]
    every_third = RecurrenceRule(Frequency.DAILY, interval=3)
    wanted = want(dispatch(**PAST | {"recurrence": every_third}), id=1)
    present = [dispatch(1, start_time=NEXT - 2 * DAY, recurrence=every_third)]
    assert changes(match(wanted, present, now=NOW)) == [(1, {"start_time": NEXT + 2 * DAY})]


def test_what_runs_for_ever_is_created_at_once() -> None:
    content = dispatch(start_time=NOW - DAY, duration=None)
    (change,) = match(want(content), [], now=NOW).changes
    assert isinstance(change, Create)
    assert change.at_once
    present = [dispatch(1, start_time=NOW, duration=None)]
    assert match(want(content), present, now=NOW + HOUR).changes == []


def test_what_is_over_is_neither_created_nor_used_again() -> None:
    over = dispatch(start_time=NOW - 2 * DAY)
    found = match(want(over), [], now=NOW)
    assert (found.changes, [each.dispatch for each in found.over]) == ([], [over])
    present = [dispatch(1, start_time=NOW - 2 * DAY)]
    assert match(want(over), present, now=NOW, prune=True).changes == []
    own = [*map(Known.of, present)]
    found = match(want(dispatch()), present, now=NOW, own=own)
    assert changes(found) == ["CHARGE"]
    assert found.extra == present


def test_the_order_of_the_lists_of_a_rule_makes_no_difference() -> None:
    rules = [RecurrenceRule(Frequency.DAILY, byhours=hours) for hours in ((8, 12), (12, 8, 8))]
    present = [dispatch(1, recurrence=rules[0])]
    assert match(want(dispatch(recurrence=rules[1])), present, now=NOW).changes == []
