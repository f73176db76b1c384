"""Lifecycle events as receivers get them, compared with what exists."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio

from tests.helpers.effort import cases
from trio_dispatch import Created, Deleted, Dispatch, LifecycleEvent, Receiver, Updated
from trio_dispatch.dispatcher.channels import lifecycle_channel, merge_events
from trio_dispatch.dispatcher.mirror import Mirror
from trio_dispatch.testing import make_dispatch

ROUNDS = cases(1_000, long=20_000)


class Reader:
    """A reader that rebuilds the dispatches of a type, or all of them, from the messages."""

    def __init__(self, receiver: Receiver[LifecycleEvent], type: str | None) -> None:
        self.receiver = receiver
        self.type = type
        self.picture: dict[int, Dispatch] = {}

    def clone(self) -> Reader:
        twin = Reader(self.receiver.clone(), self.type)
        twin.picture = self.picture.copy()
        return twin

    def read(self, most: int) -> None:
        try:
            for _ in range(most):
                self.take(self.receiver.receive_nowait())
        except trio.WouldBlock:
            pass

    def take(self, event: LifecycleEvent) -> None:
        dispatch = event.dispatch
        known = self.picture.pop(dispatch.id, None)
        match event:
            case Deleted():
                return
            case Created():
                assert known is None, "it was created before"
                assert self.type in {None, dispatch.type}
            case Updated(previous=previous):
                assert known != dispatch, "nothing has changed"
                assert known is None or previous == known
        if self.type in {None, dispatch.type}:
            self.picture[dispatch.id] = dispatch


async def test_merged_events_lead_to_the_right_picture() -> None:
    for seed in range(ROUNDS):
        rng = random.Random(seed)
        mirror = Mirror()
        channel = lifecycle_channel(lambda _, m=mirror: map(Created, m.dispatches.values()))  # type: ignore[misc]
        types = rng.choice([["A"], ["A", "B"]])
        readers: list[Reader] = []
        for _ in range(rng.randrange(5, 60)):
            events: list[LifecycleEvent] = []
            id_ = rng.randrange(3)
            match rng.randrange(9):
                case 0 if len(readers) < 5:
                    type_, limit = rng.choice([None, "A", "B"]), rng.choice([1, 1, 2, 3, 50])
                    receiver = channel.new_receiver(type=type_, limit=limit)
                    readers.append(Reader(receiver, type_))
                case 1 if readers and len(readers) < 5:
                    readers.append(rng.choice(readers).clone())
                case 2 if readers:
                    rng.choice(readers).read(1)
                case 3 if id_ in mirror.dispatches:
                    events = mirror.deleted(mirror.dispatches[id_])
                case _:
                    content: dict[str, Any] = {
                        "payload": {"a": rng.randrange(3)},
                        "type": rng.choice(types),
                    }
                    events = mirror.changed(make_dispatch(id_, **content))
            for event in events:
                channel.publish(event)
        for reader in readers:
            reader.read(1000)
            known = mirror.dispatches.items()
            wanted = {id_: each for id_, each in known if reader.type in {None, each.type}}
            assert reader.picture == wanted, f"seed {seed}"
        channel.close()


async def test_slow_receiver_of_one_type_learns_of_a_deletion() -> None:
    here, away = make_dispatch(1, type="A"), make_dispatch(1, type="B")
    channel = lifecycle_channel(lambda _: ())
    receiver = channel.new_receiver(type="A", limit=1)
    channel.publish(Created(here))
    assert receiver.receive_nowait() == Created(here)
    for event in Mirror([here]).deleted(here):
        channel.publish(event)
    channel.publish(Created(away))
    other = make_dispatch(1, type="A", payload={"a": 1})
    channel.publish(Updated(other, away))
    channel.publish(Updated(away, other))
    event = receiver.receive_nowait()
    assert event == Updated(away)
    assert isinstance(event, Updated)
    assert event.previous == here


@pytest.mark.parametrize("type_", ["A", "B"])
async def test_dispatch_that_left_the_type_unread_is_no_event(type_: str) -> None:
    channel = lifecycle_channel(lambda _: ())
    receiver = channel.new_receiver(type="A", limit=1)
    here, changed = make_dispatch(1, type="A"), make_dispatch(1, type=type_, payload={"a": 1})
    channel.publish(Created(here))
    channel.publish(Updated(changed, here))
    assert receiver.statistics().waiting == (type_ == "A")


def test_recreated_dispatch_is_compared_with_what_was_reported() -> None:
    one, two = make_dispatch(1), make_dispatch(1, payload={"a": 1})
    (deleted,) = Mirror([one]).deleted(two)
    assert merge_events(deleted, Created(one)) is None
    merged = merge_events(deleted, Created(two))
    assert isinstance(merged, Updated)
    assert merged.previous == one
    (deleted,) = Mirror([two]).deleted(two)
    gone = merge_events(Updated(two, one), deleted)
    assert gone is not None
    assert merge_events(gone, Created(one)) is None
