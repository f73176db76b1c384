from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from trio_dispatch.concurrency.broadcast import LimitedBroadcast, Receiver, Rules


@dataclass(frozen=True)
class Word:
    """A message about a subject."""

    about: str
    text: str
    type: str = "plain"
    last: bool = False


def merge(older: Word, newer: Word) -> Word | None:
    if older.text == "new" and newer.last:
        return None
    return newer


def make(*, always_merge: bool = False, snapshot: tuple[Word, ...] = ()) -> LimitedBroadcast[Word]:
    return LimitedBroadcast(
        Rules(
            key=lambda word: word.about,
            type=lambda word: word.type,
            final=lambda word: word.last,
            merge=merge,
            merges=lambda _, __, crowded: always_merge or crowded,
            snapshot=lambda _: snapshot,
        )
    )


def waiting(receiver: Receiver[Word]) -> list[str]:
    """The queued messages, as text."""
    texts = []
    try:
        while True:
            texts.append(receiver.receive_nowait().text)
    except (trio.WouldBlock, trio.EndOfChannel):
        return texts


async def test_every_receiver_gets_every_message() -> None:
    broadcast = make()
    with broadcast.new_receiver() as one, broadcast.new_receiver() as other:
        broadcast.publish(Word("a", "first"))
        broadcast.publish(Word("b", "second"))
        assert [(await one.receive()).text, (await one.receive()).text] == ["first", "second"]
        assert waiting(other) == ["first", "second"]


async def test_new_receiver_starts_with_the_present_state() -> None:
    broadcast = make(snapshot=(Word("a", "is"),))
    early = broadcast.new_receiver()
    broadcast.publish(Word("b", "comes"))
    late = broadcast.new_receiver()
    assert waiting(early) == ["is", "comes"]
    assert waiting(late) == ["is"]


async def test_cancelled_receive_loses_no_message(
    autojump_clock: trio.testing.MockClock,
) -> None:
    broadcast = make()
    receiver = broadcast.new_receiver()
    with trio.move_on_after(1):
        await receiver.receive()
    got = []

    async def receive() -> None:
        got.append(await receiver.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        assert receiver.statistics().tasks_waiting == 1
        broadcast.publish(Word("a", "at last"))
        # The message is taken although the task is cancelled at the same time.
        nursery.cancel_scope.cancel()
    assert [word.text for word in got] + waiting(receiver) == ["at last"]


async def test_messages_merge_at_the_limit() -> None:
    broadcast = make()
    receiver = broadcast.new_receiver(limit=3)
    for number in range(5):
        broadcast.publish(Word("a", str(number)))
    broadcast.publish(Word("b", "another"))
    assert receiver.statistics().merged == 2
    assert waiting(receiver) == ["0", "1", "4", "another"]


async def test_replacing_keeps_the_place_of_the_queued_message() -> None:
    broadcast = make(always_merge=True)
    receiver = broadcast.new_receiver()
    for text in ("a1", "b1", "a2", "b2", "a3"):
        broadcast.publish(Word(text[0], text))
    assert waiting(receiver) == ["a3", "b2"]
    broadcast.publish(Word("a", "a4"))
    assert waiting(receiver) == ["a4"]


async def test_messages_that_cancel_out_leave_nothing() -> None:
    broadcast = make()
    receiver = broadcast.new_receiver(limit=1)
    broadcast.publish(Word("other", "x"))
    for number in range(1000):
        broadcast.publish(Word(str(number), "new"))
        broadcast.publish(Word(str(number), "gone", last=True))
    assert receiver.statistics().waiting == 1
    assert receiver._tokens.statistics().current_buffer_used <= 2
    assert waiting(receiver) == ["x"]
    broadcast.publish(Word("a", "after"))
    assert [word.text for word in await receiver.receive_batch()] == ["after"]


async def test_left_over_token_wakes_no_task(
    autojump_clock: trio.testing.MockClock,
) -> None:
    broadcast = make()
    receiver = broadcast.new_receiver(limit=1)
    broadcast.publish(Word("a", "x"))
    broadcast.publish(Word("b", "new"))
    broadcast.publish(Word("b", "gone", last=True))
    assert (await receiver.receive()).text == "x"
    with trio.move_on_after(1) as scope:
        await receiver.receive()
    assert scope.cancelled_caught


async def test_receive_batch_returns_all_queued_messages(
    autojump_clock: trio.testing.MockClock,
) -> None:
    broadcast = make()
    receiver = broadcast.new_receiver()
    broadcast.publish(Word("a", "1"))
    broadcast.publish(Word("b", "2"))
    assert [word.text for word in await receiver.receive_batch()] == ["1", "2"]
    with trio.move_on_after(1) as scope:
        await receiver.receive_batch()
    assert scope.cancelled_caught


async def test_clone_gets_what_is_yet_to_be_received_and_is_independent() -> None:
    broadcast = make(always_merge=True)
    receiver = broadcast.new_receiver()
    broadcast.publish(Word("a", "read"))
    await receiver.receive()
    broadcast.publish(Word("a", "unread"))
    clone = receiver.clone()
    broadcast.publish(Word("a", "newer"))
    assert waiting(receiver) == ["newer"]
    receiver.close()
    broadcast.publish(Word("b", "only for the clone"))
    assert waiting(clone) == ["newer", "only for the clone"]


async def test_closed_broadcast_ends_receivers_after_their_queues() -> None:
    broadcast = make()
    receiver = broadcast.new_receiver()
    broadcast.publish(Word("a", "last words"))
    broadcast.close()
    clone = receiver.clone()
    for each in (receiver, clone):
        assert [word.text async for word in each] == ["last words"]
        with pytest.raises(trio.EndOfChannel):
            await each.receive()
    with pytest.raises(trio.ClosedResourceError):
        broadcast.new_receiver()


async def test_closing_a_receiver_wakes_the_task_that_waits_on_it() -> None:
    broadcast = make()
    receiver = broadcast.new_receiver()

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await receiver.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await receiver.aclose()
    assert broadcast.statistics().receivers == 0
    with pytest.raises(trio.ClosedResourceError):
        receiver.clone()
    receiver.close()


async def test_receiver_of_a_type_gets_the_message_that_leaves_it() -> None:
    broadcast = make()
    receiver = broadcast.new_receiver(type="red")
    broadcast.publish(Word("a", "not ours", type="blue"))
    broadcast.publish(Word("a", "becomes ours", type="red"))
    broadcast.publish(Word("a", "leaves", type="blue"))
    broadcast.publish(Word("a", "no longer ours", type="blue"))
    broadcast.publish(Word("b", "ours", type="red"))
    broadcast.publish(Word("b", "ends", type="red", last=True))
    assert waiting(receiver) == ["becomes ours", "leaves", "ours", "ends"]
    assert not receiver._of_type


async def test_replace_queued_changes_only_queued_messages() -> None:
    broadcast = make()
    reader, sleeper = broadcast.new_receiver(), broadcast.new_receiver()
    broadcast.publish(Word("a", "pulse"))
    await reader.receive()
    broadcast.replace_queued(Word("a", "no pulse"))
    assert waiting(reader) == []
    assert waiting(sleeper) == ["no pulse"]


def test_limit_below_one_is_rejected() -> None:
    with pytest.raises(ValueError, match="limit 0"):
        make().new_receiver(limit=0)


@pytest.mark.parametrize("seed", range(20))
async def test_last_message_about_each_subject_arrives_at_any_pace(seed: int) -> None:
    rng = random.Random(seed)
    broadcast = make(always_merge=rng.random() < 0.5)
    last: dict[str, str] = {}
    receivers = [
        (broadcast.new_receiver(limit=rng.randint(1, 5)), dict[str, str]()) for _ in range(4)
    ]
    for number in range(300):
        about = rng.choice("abcdef")
        last[about] = str(number)
        broadcast.publish(Word(about, str(number)))
        for receiver, seen in list(receivers):
            if receiver.statistics().waiting and rng.random() < 0.3:
                word = await receiver.receive()
                assert int(word.text) > int(seen.get(word.about, -1))
                seen[word.about] = word.text
            if len(receivers) < 8 and rng.random() < 0.01:
                receivers.append((receiver.clone(), seen.copy()))
    broadcast.close()
    for receiver, seen in receivers:
        async for word in receiver:
            seen[word.about] = word.text
        assert seen == last


async def test_receiver_that_never_reads_is_bounded_by_the_subjects() -> None:
    broadcast = make()
    sleeper = broadcast.new_receiver()
    for number in range(100_000):
        broadcast.publish(Word(str(number % 1000), str(number)))
    assert sleeper.statistics().waiting == 1000
    assert sleeper._tokens.statistics().current_buffer_used == 1
    assert {int(text) for text in waiting(sleeper)[50:]} == set(range(99_050, 100_000))


@pytest.mark.parametrize("round_", range(10))
async def test_two_tasks_that_share_a_receiver_lose_nothing(round_: int) -> None:
    broadcast = make()
    receiver = broadcast.new_receiver()
    got: list[str] = []

    async def receive() -> None:
        while len(got) < 20:
            got.extend(word.text for word in await receiver.receive_batch())
            if len(got) == 20:
                broadcast.close()

    async def receive_to_the_end() -> None:
        with suppress(trio.EndOfChannel):
            await receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive_to_the_end)
        nursery.start_soon(receive_to_the_end)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(10):
            broadcast.publish(Word("a", str(2 * number)))
            broadcast.publish(Word("a", str(2 * number + 1)))
            await trio.lowlevel.checkpoint()
    assert sorted(got, key=int) == [str(number) for number in range(20)]


@pytest.mark.parametrize("seed", range(100))
async def test_tasks_that_share_a_receiver_in_every_way_get_each_message_once(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Some receive one, some all, some only look; tasks are cancelled, and messages vanish."""
    dice = random.Random(seed)
    broadcast = make()
    receiver = broadcast.new_receiver(limit=dice.choice([1, 3, 100]))
    got: list[str] = []

    async def take() -> None:
        chance = dice.random()
        if chance < 0.4:
            got.append((await receiver.receive()).text)
        elif chance < 0.8:
            got.extend(word.text for word in await receiver.receive_batch())
        else:
            with suppress(trio.WouldBlock):
                got.append(receiver.receive_nowait().text)
            await trio.lowlevel.checkpoint()

    async def consume() -> None:
        with suppress(trio.EndOfChannel):
            while True:
                with trio.move_on_after(dice.choice([0, 0.5, 10])):
                    await take()

    async with trio.open_nursery() as nursery:
        for _ in range(dice.randint(1, 4)):
            nursery.start_soon(consume)
        for number in range(50):
            if dice.random() < 0.3:
                broadcast.publish(Word("brief", "new"))
                broadcast.publish(Word("brief", "gone", last=True))
            broadcast.publish(Word(str(number), str(number)))
            if dice.random() < 0.5:
                await trio.sleep(dice.choice([0, 0.1]))
        broadcast.close()
    assert sorted(int(text) for text in got if text.isdigit()) == list(range(50))
    assert receiver.statistics().waiting == 0


async def test_subject_leaves_the_type_once() -> None:
    broadcast = make()
    receiver = broadcast.new_receiver(type="red", limit=1)
    broadcast.publish(Word("a", "ours", type="red"))
    broadcast.replace_queued(Word("a", "left", type="blue"))
    broadcast.publish(Word("a", "again", type="blue"))
    assert waiting(receiver) == ["left"]


async def test_replaced_message_of_the_type_may_leave_it_again() -> None:
    broadcast = make(always_merge=True)
    receiver = broadcast.new_receiver(type="red")
    broadcast.publish(Word("a", "ours", type="red"))
    broadcast.publish(Word("a", "left", type="blue"))
    broadcast.replace_queued(Word("a", "ours again", type="red"))
    broadcast.publish(Word("a", "left again", type="blue"))
    assert waiting(receiver) == ["left again"]
    broadcast.publish(Word("a", "not ours", type="blue"))
    assert waiting(receiver) == []
