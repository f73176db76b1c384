"""Leaving a dispatcher: at every moment and in every way."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.helpers.dispatching import CancelAt
from tests.helpers.effort import cases
from trio_dispatch import Receiver, TargetIds, open_dispatcher
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service


async def use(
    service: LocalService, cache: Path | None, name: str | None, receivers: list[Receiver[object]]
) -> None:
    """Open, sync, receive, reconnect and close."""
    async with open_dispatcher(
        microgrid_id=1,
        channel=service.channel,
        key=service.key,
        cache=cache,
        name=name,
    ) as dispatcher:
        status = dispatcher.running_status_change.new_receiver()
        events = dispatcher.lifecycle_events.new_receiver()
        receivers += [status, events]  # type: ignore[list-item]
        await status.receive()
        await service.client.create(
            1,
            type="CHARGE",
            start_time="NOW",
            duration=timedelta(hours=1),
            target=TargetIds(1),
        )
        await status.receive()
        await service.drop_connections()
        await trio.sleep(30)


@pytest.mark.parametrize(
    ("cached", "name", "stride"),
    [
        (False, None, cases(4, long=1)),
        (True, None, cases(3, long=1)),
        (True, "site-7", cases(7, long=1)),
    ],
)
async def test_cancellation_at_every_step(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    cached: bool,
    name: str | None,
    stride: int,
) -> None:
    steps = 0
    finished = False
    while not finished:
        steps += stride if steps < 400 else 7
        cache = tmp_path / f"cache{steps}" if cached else None
        async with open_test_service() as service:
            await service.put(make_dispatch(1, duration=None))
            receivers: list[Receiver[object]] = []
            with trio.CancelScope() as scope:
                instrument = CancelAt(steps, scope)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await use(service, cache, name, receivers)
                    finished = True
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            with trio.fail_after(1):
                for receiver in receivers:
                    assert len([message async for message in receiver]) <= 3
    assert steps > 100


async def break_down(
    service: LocalService, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """Break a task of the dispatcher; the body may then raise an error, too."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug in a task")

    async with open_dispatcher(
        microgrid_id=1, channel=service.channel, key=service.key
    ) as dispatcher:
        monkeypatch.setattr(dispatcher._scheduler._agenda, "advance", broken)
        dispatcher._scheduler._nap.cancel()
        try:
            await trio.sleep_forever()
        finally:
            if error is not None:
                raise error


async def test_error_of_a_task_is_raised_as_itself(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_test_service() as service:
        with pytest.raises(RuntimeError, match="a bug in a task"):
            await break_down(service, monkeypatch, None)


async def test_errors_of_the_body_and_of_a_task_are_raised_together(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_test_service() as service:
        with pytest.raises(ExceptionGroup) as info:
            await break_down(service, monkeypatch, KeyError("in the body"))
        assert {type(exc) for exc in info.value.exceptions} == {RuntimeError, KeyError}


async def test_receiver_that_never_reads_is_bounded_and_delays_no_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        open_test_service() as service,
        open_dispatcher(microgrid_id=1, channel=service.channel, key=service.key) as dispatcher,
    ):
        sleeper = dispatcher.lifecycle_events.new_receiver()
        reader = dispatcher.lifecycle_events.new_receiver()
        for number in range(20):
            for id_ in range(50):
                await service.put(make_dispatch(id_, payload={"n": number}))
            await trio.sleep(1)
            assert len(await reader.receive_batch()) == 50
        statistics = sleeper.statistics()
        assert (statistics.waiting, statistics.merged) == (50, 950)
