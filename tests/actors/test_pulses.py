"""Pulses: an actor is called once and runs to its end."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import pytest
import trio
import trio.testing

from tests.helpers.acting import SECOND, Diary, acting, at, lasting, now
from tests.helpers.dispatching import dispatching
from trio_dispatch import ActorRun, MergeByType, RecurrenceRule, TargetIds
from trio_dispatch.model.recurrence.rule import Frequency
from trio_dispatch.testing import LocalService

MINUTELY = RecurrenceRule(Frequency.MINUTELY)


class Switch:
    """An actor that acts for some time."""

    def __init__(self, takes: float) -> None:
        self.takes = takes
        self.log: list[tuple[float, str, float]] = []

    def note(self, what: str, run: ActorRun) -> None:
        assert run.until is not None
        assert run.until == run.dispatch.pulse
        self.log.append((now(), what, (run.until - at(0)).total_seconds()))

    async def actor(self, run: ActorRun) -> None:
        self.note("on", run)
        try:
            await trio.sleep(self.takes)
            self.note("done", run)
        except trio.Cancelled:
            with run.cleanup():
                await trio.sleep(1)
                self.note("cut", run)
            raise


async def test_pulse_runs_its_actor_to_the_end(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    switch = Switch(takes=500)
    async with acting(service, switch.actor, merge=MergeByType()):
        await service.put(lasting(1, 10, 0))
        await service.put(lasting(2, 10, 0))
        await trio.sleep(1000)
    # Pulses are not merged.
    assert sorted(switch.log) == [
        (10, "on", 10),
        (10, "on", 10),
        (510, "done", 10),
        (510, "done", 10),
    ]


async def test_loop_over_changes_ends_after_a_pulse(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    async with acting(service, diary.actor):
        await service.put(lasting(1, 10, 0, payload={"power": 5}))
        await trio.sleep(100)
        # The loop over the changes has ended by itself.
        assert diary.entries == [(10, "1: 1 5"), (10, "1: end")]


async def test_newest_pulse_waits_for_an_earlier_one(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    switch = Switch(takes=200)
    async with acting(service, switch.actor):
        await service.put(lasting(1, 0, 0, recurrence=MINUTELY))
        await trio.sleep(500)
        await service.store.delete(1, 1)
        await trio.sleep(500)
    assert switch.log == [
        (0, "on", 0),
        (200, "done", 0),
        (200, "on", 180),
        (400, "done", 180),
        (400, "on", 360),
        (501, "cut", 360),
    ]
    dropped = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(dropped) == 5  # those of 60, 120, 240, 300 and 420 s
    assert "the pulse of 2026-01-01 00:01:00+00:00 is dropped" in dropped[0]


@pytest.mark.parametrize(
    "how", ["deleted", "deactivated", "another type", "another type, no pulse", "cancelled"]
)
async def test_withdrawal_cancels_a_pulse(
    autojump_clock: trio.testing.MockClock, service: LocalService, how: str
) -> None:
    switch = Switch(takes=200)
    async with acting(service, switch.actor):
        await service.put(lasting(1, 0, 0, recurrence=MINUTELY))
        await trio.sleep(70)  # another one waits
        match how:
            case "deleted":
                await service.store.delete(1, 1)
            case "deactivated":
                await service.put(lasting(1, 0, 0, recurrence=MINUTELY, active=False))
            case "another type":
                await service.put(lasting(1, 0, 0, recurrence=MINUTELY, type="OTHER"))
            case "another type, no pulse":
                await service.put(lasting(1, 0, None, type="OTHER"))
        if how != "cancelled":
            await trio.sleep(1000)
    assert switch.log == [(0, "on", 0), (71, "cut", 0)]


@pytest.mark.parametrize("how", ["payload", "postponed", "no longer a pulse", "nothing"])
async def test_other_changes_do_not_cancel_a_pulse(
    autojump_clock: trio.testing.MockClock, service: LocalService, how: str
) -> None:
    switch = Switch(takes=200)
    pulse = lasting(1, 0, 0)
    changes = {
        "payload": {"payload": {"power": 1}},
        "postponed": {"start_time": at(3600)},
        "no longer a pulse": {"duration": 5 * SECOND},
        "nothing": {},
    }
    async with acting(service, switch.actor):
        await service.put(pulse)
        await trio.sleep(70)
        await service.put(replace(pulse, update_time=at(70), **changes[how]))  # type: ignore[arg-type]
        await trio.sleep(1000)
    assert switch.log == [(0, "on", 0), (200, "done", 0)]


async def test_pulse_after_a_withdrawal_is_acted_upon(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    switch = Switch(takes=20)
    async with acting(service, switch.actor):
        await service.put(lasting(1, 0, 0))
        await trio.sleep(5)
        # The second pulse is due at once, and is not withdrawn.
        await service.put(lasting(1, 0, 0, active=False))
        await service.put(lasting(1, 5, 0))
        await trio.sleep(100)
    assert switch.log == [(0, "on", 0), (6, "cut", 0), (6, "on", 5), (26, "done", 5)]


async def test_pulse_whose_actor_fails_is_logged_and_not_repeated(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    started = []

    async def actor(run: ActorRun) -> None:
        started.append(now())
        raise KeyError("no such switch")

    async with acting(service, actor):
        await service.put(lasting(1, 0, 0, recurrence=MINUTELY))
        await trio.sleep(130)
    assert started == [0, 60, 120]
    errors = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 3
    assert errors[0].startswith("microgrid 1, dispatch 1: ")


async def test_error_of_a_pulse_is_raised_with_on_error_raise(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async def actor(run: ActorRun) -> None:
        raise KeyError("no such switch")

    await service.put(lasting(1, 0, 0))
    async with dispatching(service) as dispatcher:
        with pytest.raises(KeyError, match="no such switch"):
            await dispatcher.run_actors("CHARGE", actor, on_error="raise")


async def test_pulse_waits_for_the_last_command_of_a_run(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()

    async def actor(run: ActorRun) -> None:
        if run.dispatch.pulse is not None:
            diary.note("pulse")
            return
        try:
            await trio.sleep_forever()
        finally:
            with run.cleanup():
                await trio.sleep(3)
                diary.note("off")

    await service.put(lasting(2, 0, 60, target=TargetIds(1)))
    await service.put(lasting(1, 60, 0, target=TargetIds(1)))
    async with acting(service, actor):
        await trio.sleep(100)
    assert diary.entries == [(63, "off"), (63, "pulse")]


@pytest.mark.parametrize("how", ["deleted", "deactivated"])
async def test_pulse_that_is_withdrawn_while_it_waits_is_not_acted_upon(
    autojump_clock: trio.testing.MockClock, service: LocalService, how: str
) -> None:
    diary = Diary()

    async def actor(run: ActorRun) -> None:
        diary.note(f"{run.dispatch.id}")
        try:
            await trio.sleep_forever()
        finally:
            with run.cleanup():
                await trio.sleep(5)

    await service.put(lasting(2, 0, 60, target=TargetIds(1)))
    await service.put(lasting(1, 60, 0, target=TargetIds(1)))
    async with acting(service, actor):
        await trio.sleep(63)
        if how == "deleted":
            await service.store.delete(1, 1)
        else:
            await service.put(lasting(1, 60, 0, target=TargetIds(1), active=False))
        await trio.sleep(30)
    assert diary.entries == [(0, "2")]


async def test_closing_the_dispatcher_cancels_pulses(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    switch = Switch(takes=1000)
    async with (
        trio.open_nursery() as nursery,
        dispatching(service) as dispatcher,
    ):
        await nursery.start(partial(dispatcher.run_actors, "CHARGE", switch.actor))
        await service.put(lasting(1, 0, 0, recurrence=MINUTELY))
        await trio.sleep(70)
    assert switch.log == [(0, "on", 0), (71, "cut", 0)]
    assert now() == 71
