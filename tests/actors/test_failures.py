"""Actors that fail, or that do not stop."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.acting import SECOND, Diary, acting, lasting, now
from tests.helpers.dispatching import dispatching
from trio_dispatch import ActorRun, RecurrenceRule
from trio_dispatch.model.recurrence.rule import Frequency
from trio_dispatch.testing import LocalService


class FaultError(Exception):
    pass


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_actor_that_fails_is_called_again_while_its_run_lasts(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    started = []
    diary = Diary()

    async def actor(run: ActorRun) -> None:
        if run.dispatch.id == 2:
            await diary.actor(run)
        started.append(now())
        raise FaultError("at the start")

    async with acting(service, actor):
        await service.put(lasting(1, 0, 600))
        await service.put(lasting(2, 0, 600))
        await trio.sleep(1000)
    pauses = [after - before for before, after in itertools.pairwise(started)]
    assert len(pauses) > 10
    for number, pause in enumerate(pauses):
        assert 0 <= pause <= min(0.5 * 2**number, 60)
    assert max(pauses) > 10
    assert started[-1] < 600
    first, *_ = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "microgrid 1, dispatch 1: " in first.getMessage()
    assert "actor: failed; next attempt in" in first.getMessage()
    assert first.exc_info is not None
    assert isinstance(first.exc_info[1], FaultError)
    # The other actor is not affected.
    assert diary.entries == [(0, "2: 2 None"), (600, "2: end")]


async def test_pauses_are_short_again_after_a_minute_without_an_error(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    pauses: list[float] = []
    failed: float | None = None

    async def actor(run: ActorRun) -> None:
        nonlocal failed
        if failed is not None:
            pauses.append(now() - failed)
        await trio.sleep(61)
        failed = now()
        raise FaultError("in mid-run")

    async with acting(service, actor):
        await service.put(lasting(1, 0, None))
        await trio.sleep(4000)
    assert len(pauses) > 50
    assert max(pauses) <= 0.5


async def test_actor_that_is_called_again_is_shown_the_present_dispatch(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    seen: list[float] = []

    async def actor(run: ActorRun) -> None:
        n = run.payload["n"]
        assert isinstance(n, float)
        seen.append(n)
        if n < 5:
            raise FaultError("too little")
        await trio.sleep_forever()

    async with acting(service, actor):
        for n in range(6):
            await service.put(lasting(1, 0, None, payload={"n": n}))
            await trio.sleep(2)
        await trio.sleep(60)
    assert seen[0] == 0
    assert seen[-1] == 5
    assert seen == sorted(seen)


@pytest.mark.parametrize("when", ["at the start", "in mid-run", "while it is cancelled"])
async def test_error_is_raised_and_cancels_all_actors_with_on_error_raise(
    autojump_clock: trio.testing.MockClock, service: LocalService, when: str
) -> None:
    diary = Diary()

    async def actor(run: ActorRun) -> None:
        if run.dispatch.id == 2:
            await diary.actor(run)
        if when == "at the start":
            raise FaultError(when)
        try:
            await trio.sleep(5 if when == "in mid-run" else 100)
        finally:
            raise FaultError(when)

    await service.put(lasting(1, 0, 10))
    await service.put(lasting(2, 0, None))
    async with dispatching(service) as dispatcher:
        # The error itself, not a group of errors.
        with pytest.raises(FaultError, match=when):
            await dispatcher.run_actors("CHARGE", actor, on_error="raise")
        end = {"at the start": 0, "in mid-run": 5, "while it is cancelled": 10}[when]
        assert diary.entries[-1] == (end, "2: end")
        assert now() == end


async def test_errors_of_several_actors_are_raised_in_a_group(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async def actor(run: ActorRun) -> None:
        try:
            await trio.sleep(run.dispatch.id)
        finally:
            raise FaultError(str(run.dispatch.id))

    await service.put(lasting(1, 0, None))
    await service.put(lasting(2, 0, None))
    async with dispatching(service) as dispatcher:
        with pytest.raises(ExceptionGroup) as info:
            await dispatcher.run_actors("CHARGE", actor, on_error="raise")
    assert sorted(map(str, info.value.exceptions)) == ["1", "2"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("on_error", ["restart", "raise"])
@pytest.mark.parametrize("grouped", [False, True])
async def test_keyboard_interrupt_and_system_exit_are_raised_always(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    error: type[BaseException],
    on_error: Any,
    grouped: bool,
) -> None:
    diary = Diary()

    async def quit_(run: ActorRun) -> None:
        if grouped:
            try:
                raise BaseExceptionGroup("mine", [error(), FaultError("beside it")])
            finally:
                diary.note("raised")
        raise error

    async def actor(run: ActorRun) -> None:
        await (quit_(run) if run.dispatch.id == 1 else diary.actor(run))

    await service.put(lasting(1, 10, None))
    await service.put(lasting(2, 0, None))
    async with dispatching(service) as dispatcher:
        with pytest.raises(BaseException) as info:  # noqa: PT011
            await dispatcher.run_actors("CHARGE", actor, on_error=on_error)
        matched = info.value
        if isinstance(matched, BaseExceptionGroup):
            assert grouped
            assert matched.subgroup(error) is not None
        else:
            assert isinstance(matched, error)
        assert diary.entries[-1] == (10, "2: end")


async def test_error_in_a_cleanup_is_logged_and_affects_no_other_actor(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary = Diary()

    async def actor(run: ActorRun) -> None:
        if run.dispatch.id == 2:
            await diary.actor(run)
        if run.dispatch.id == 3:
            # An error and a cancellation, in one group.
            async with trio.open_nursery() as nursery:
                nursery.start_soon(clumsy)
                await trio.sleep_forever()
        await clumsy()

    async def clumsy() -> None:
        try:
            await trio.sleep_forever()
        finally:
            diary.note("stumbles")
            raise FaultError("in the cleanup")

    await service.put(lasting(1, 0, 10))
    await service.put(lasting(2, 0, 20))
    await service.put(lasting(3, 0, 10))
    async with acting(service, actor):
        await trio.sleep(60)
    assert diary.entries == [
        (0, "2: 2 None"),
        (10, "stumbles"),
        (10, "stumbles"),
        (20, "2: end"),
    ]
    messages = logged(caplog)
    assert len(messages) == 2
    for id_ in (1, 3):
        (message,) = [each for each in messages if f"dispatch {id_}: " in each]
        assert message.endswith("actor: failed")


async def test_error_in_the_final_cleanup_is_logged(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def actor(run: ActorRun) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise FaultError("in the cleanup")

    await service.put(lasting(1, 0, None))
    async with acting(service, actor):
        await trio.sleep(1)
    assert len(logged(caplog)) == 1


async def test_actor_that_does_not_stop_is_reported_and_not_replaced(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary = Diary()

    async def actor(run: ActorRun) -> None:
        diary.note(f"{run.dispatch.id} starts")
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(35 if run.dispatch.id == 1 and now() < 30 else 0)
            raise
        finally:
            diary.note(f"{run.dispatch.id} ends")

    minutely = RecurrenceRule(Frequency.MINUTELY)
    await service.put(lasting(1, 0, 10, recurrence=minutely))
    await service.put(lasting(2, 0, 10))
    async with acting(service, actor):
        await trio.sleep(20)
        # The dispatch starts again while its last actor has not returned.
        await service.put(lasting(1, 20, 100))
        await trio.sleep(30)
        assert sorted(diary.entries[:2]) == [(0, "1 starts"), (0, "2 starts")]
        assert diary.entries[2:] == [(10, "2 ends"), (45, "1 ends"), (45, "1 starts")]
    reports = [each for each in logged(caplog) if "still running" in each]
    assert [each.split(", ")[-1] for each in reports] == [
        f"{seconds} s after it was cancelled" for seconds in (10, 20, 30)
    ]
    assert all("microgrid 1, dispatch 1: " in each and "actor" in each for each in reports)


async def test_run_actors_waits_for_an_actor_that_does_not_stop(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def actor(run: ActorRun) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    await service.put(lasting(1, 0, None))
    async with acting(service, actor, grace=3 * SECOND):
        await trio.sleep(1)
    assert now() == 100
    reports = [each for each in logged(caplog) if "still running" in each]
    assert len(reports) == 32


async def test_actor_that_swallows_its_cancellation_and_returns_has_finished(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary = Diary()

    async def actor(run: ActorRun) -> None:
        diary.note("start")
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            diary.note("no")

    async with acting(service, actor):
        await service.put(lasting(1, 0, 10, recurrence=RecurrenceRule(Frequency.MINUTELY)))
        await trio.sleep(80)
    assert diary.entries == [(0, "start"), (10, "no"), (60, "start"), (70, "no")]
    assert logged(caplog) == []
