"""The queue of writes: transactions in a worker thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import trio
from outcome import Value
from trio.testing import wait_all_tasks_blocked

from trio_dispatch.service import StoreUnavailableError
from trio_dispatch.service.store.rows import Change
from trio_dispatch.service.store.watchers import Watchers
from trio_dispatch.service.store.write_queue import CHANGES_AT_ONCE, Write, WriteQueue


def write(size: int = 1) -> Write:
    return Write(lambda batch: (), 1, range(size))


async def test_a_thread_goes_on_with_writes_that_arrive_meanwhile() -> None:
    """Those that fit into one transaction share it; results come in the order of transactions."""
    watchers: Watchers[Change] = Watchers(10)
    queue = WriteQueue("the store", watchers)
    started, go_on = trio.Event(), threading.Event()
    transactions: list[int] = []
    published: list[int] = []
    threads: set[int] = set()

    def transact(writes: Sequence[Write]) -> int:
        transactions.append(len(writes))
        threads.add(threading.get_ident())
        if len(transactions) == 1:
            trio.from_thread.run_sync(started.set)
            assert go_on.wait(10)
        for each in writes:
            each.outcome = Value(())
        return len(transactions)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            queue.run_in_thread,
            transact,
            lambda writes, result: published.append(result),
            trio.CapacityLimiter(1),
        )
        async with trio.open_nursery() as writers:
            writers.start_soon(queue.submit, write())
            await started.wait()
            for size in (1, 1, CHANGES_AT_ONCE):
                writers.start_soon(queue.submit, write(size))
                # A task waits in its turn.
                await wait_all_tasks_blocked()
            go_on.set()
        assert transactions == [1, 2, 1]
        assert published == [1, 2, 3]
        assert len(threads) == 1
        nursery.cancel_scope.cancel()


async def test_fewer_writes_than_in_the_last_transaction_wait_for_the_event_loop() -> None:
    """Those that arrive until then share the transaction."""
    queue = WriteQueue("the store", Watchers(10))
    started, go_on = trio.Event(), threading.Event()
    transactions: list[int] = []

    def transact(writes: Sequence[Write]) -> None:
        transactions.append(len(writes))
        if len(transactions) == 1:
            trio.from_thread.run_sync(started.set)
            assert go_on.wait(10)
        for each in writes:
            each.outcome = Value(())

    async def submit_two() -> None:
        await queue.submit(write())
        await queue.submit(write())

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as writers:
            for _ in range(2):
                writers.start_soon(submit_two)
            await wait_all_tasks_blocked()
            nursery.start_soon(
                queue.run_in_thread,
                transact,
                lambda writes, result: None,
                trio.CapacityLimiter(1),
            )
            await started.wait()
            writers.start_soon(queue.submit, write())
            await wait_all_tasks_blocked()
            go_on.set()
        assert transactions == [2, 3]
        nursery.cancel_scope.cancel()


async def test_an_error_of_publishing_is_raised_by_the_task_that_owns_the_thread() -> None:
    queue = WriteQueue("the store", Watchers(10))

    def transact(writes: Sequence[Write]) -> None:
        for each in writes:
            each.outcome = Value(())

    def publish(writes: Sequence[Write], result: None) -> None:
        raise ZeroDivisionError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.submit, write())
        await wait_all_tasks_blocked()
        with pytest.raises(ZeroDivisionError):
            await queue.run_in_thread(transact, publish, trio.CapacityLimiter(1))


async def test_a_write_that_is_cancelled_before_its_turn_is_withdrawn() -> None:
    queue = WriteQueue("the store", Watchers(10))
    carried_out: list[Write] = []

    async def commit(writes: Sequence[Write]) -> None:
        await trio.lowlevel.checkpoint()
        for each in writes:
            carried_out.append(each)
            each.outcome = Value(())

    with trio.move_on_after(0):
        await queue.submit(write())
    kept = write()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run, commit)
        await queue.submit(kept)
        nursery.cancel_scope.cancel()
    assert carried_out == [kept]
    with pytest.raises(StoreUnavailableError, match="closed"):
        await queue.submit(write())
