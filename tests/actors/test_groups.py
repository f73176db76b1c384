"""Groups: which messages start an actor again that has returned, who wins, when a group ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio.testing

from tests.helpers.acting import START, at, lasting
from trio_dispatch import Dispatch, RecurrenceRule
from trio_dispatch.actors.groups import Groups, Member
from trio_dispatch.actors.messages import moment_of
from trio_dispatch.model.recurrence.rule import Frequency

HOURLY = RecurrenceRule(Frequency.HOURLY)
EVERY_60_MINUTES = RecurrenceRule(Frequency.MINUTELY, 60)
RUNNING = lasting(1, 0, 3600, recurrence=HOURLY)


def member(message: Dispatch, priority: float = 0.0) -> Member[None]:
    start = message.run_at(moment_of(message))
    assert start is not None
    return Member(message, message, start, None, priority)


@pytest.mark.parametrize(
    ("message", "started"),
    [
        (RUNNING.sent_for(START), False),
        (RUNNING.sent_for(at(3600)), True),
        (replace(RUNNING, payload={"power": 1}).sent_for(at(3600)), True),
        # A silent change of the rule; only the next occurrence shows it.
        (lasting(1, 0, 3600, recurrence=EVERY_60_MINUTES).sent_for(at(3600)), True),
        # An update arrived with the start, and its message replaced that of the start.
        (replace(RUNNING, payload={"power": 1}).sent_for(at(3601)), True),
        (replace(RUNNING, payload={"power": 1}).sent_for(at(100)), False),
        (lasting(1, 60, 3600, recurrence=HOURLY).sent_for(at(100)), False),
        (lasting(1, -60, 3600, recurrence=HOURLY).sent_for(at(100)), False),
    ],
)
async def test_which_messages_count_as_a_start(
    autojump_clock: trio.testing.MockClock, message: Dispatch, started: bool
) -> None:
    groups = Groups[None]()
    (group,) = groups.put(member(RUNNING.sent_for(START)), {1})
    assert group.started
    group.started = False
    assert groups.put(member(message), {1}) == [group]
    assert group.started is started
    assert group.winner.dispatch == message


async def test_member_of_several_groups_leaves_and_joins_each_by_its_identities(
    autojump_clock: trio.testing.MockClock,
) -> None:
    groups = Groups[None]()
    one, two = lasting(1, 0, 60), lasting(2, 0, None)
    by_identity = {group.identity: group for group in groups.put(member(one), {"a", "b"})}
    a, b = by_identity["a"], by_identity["b"]
    (c,) = set(groups.put(member(two), {"b", "c"})) - {b}
    assert (a.end, b.end, c.end) == (at(60), None, None)
    assert b.winner.dispatch == two
    changed = groups.put(member(one), {"b", "c"})
    assert set(changed) == {a, b, c}
    assert a.is_over
    assert (c.winner.dispatch, c.end) == (two, None)
    assert set(groups.remove(2)) == {b, c}
    assert groups.remove(2) == []
    # The group that is over is not used again.
    (new,) = set(groups.put(member(two), {"a"}))
    assert new is not a


async def test_highest_priority_wins_then_the_latest_start_then_the_highest_id(
    autojump_clock: trio.testing.MockClock,
) -> None:
    groups = Groups[None]()
    winners = []
    for message, priority in [
        (lasting(5, -30, None), 0.0),
        (lasting(4, -20, None), 0.0),
        (lasting(3, -20, None), 0.0),
        (lasting(2, -60, None), 1.0),
        (lasting(6, -10, None), 0.0),
    ]:
        (group,) = groups.put(member(message, priority), {1})
        winners.append(group.winner.dispatch.id)
    assert winners == [5, 4, 4, 2, 2]
    groups.remove(2)
    assert group.winner.dispatch.id == 6
