"""The programs in ``docs/examples`` run as they stand."""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_dispatch import (
    ElectricalComponentCategory,
    TargetCategories,
    TargetIds,
    clock,
    open_dispatcher,
)
from trio_dispatch.clock import VIRTUAL_START as START
from trio_dispatch.service import Keys, open_service
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@asynccontextmanager
async def running(example: dict[str, Any]) -> AsyncIterator[LocalService]:
    """Run an example with a service for the time of the block."""
    async with open_test_service(keepalive=False) as service, trio.open_nursery() as nursery:
        nursery.start_soon(partial(example["main"], channel=service.channel, key=service.key))
        await trio.sleep(1)
        yield service
        nursery.cancel_scope.cancel()


def test_every_example_has_a_test() -> None:
    names = {path.name for path in EXAMPLES.iterdir() if path.suffix == ".py"}
    assert names == {"by_hand.py", "charging_plan.py", "merge_strategy.py", "two_batteries.py"}


async def test_by_hand(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    example = runpy.run_path(str(EXAMPLES / "by_hand.py"))
    async with running(example) as service:

        async def put(id_: int = 1, **fields: Any) -> str:
            defaults = {"payload": {"power_kw": 5}, "duration": None, "update_time": clock.now()}
            await service.put(make_dispatch(id_, **(defaults | fields)))
            await trio.sleep(5)
            return capsys.readouterr().out

        assert await put() == "charge TargetIds(1) with 5 kW\n"
        assert await put(payload={"power_kw": 7.5}) == "charge TargetIds(1) with 7.5 kW\n"
        assert await put(type="DISCHARGE") == "stop charging TargetIds(1)\n"
        assert await put() == "charge TargetIds(1) with 5 kW\n"
        assert await put(2, type="DISCHARGE") == ""
        assert await put(target=TargetIds(3)) == "charge TargetIds(3) with 5 kW\n"
        assert await put(active=False) == "stop charging TargetIds(3)\n"
        pulse = await put(4, start_time=clock.now(), duration=timedelta())
        assert pulse == "not executed: dispatch 4 is a dry run or a pulse\n"
        assert await put(5, dry_run=True) == "not executed: dispatch 5 is a dry run or a pulse\n"
        assert await put() == "charge TargetIds(1) with 5 kW\n"
        await service.store.delete(1, 1)
        await trio.sleep(5)
        assert capsys.readouterr().out == "stop charging TargetIds(1)\n"
        assert await put() == "charge TargetIds(1) with 5 kW\n"
        # A dispatch that starts again at once waits for its own last command.
        await service.put(make_dispatch(1, active=False, update_time=clock.now()))
        await trio.sleep(0.1)
        assert await put() == "stop charging TargetIds(1)\ncharge TargetIds(1) with 5 kW\n"
        await service.store.delete(1, 1)
        await trio.sleep(5)
        assert capsys.readouterr().out == "stop charging TargetIds(1)\n"
        assert await put() == "charge TargetIds(1) with 5 kW\n"
    # The last command, when everything is cancelled.
    assert capsys.readouterr().out == "stop charging TargetIds(1)\n"


async def test_charging_plan(
    autojump_clock: trio.testing.MockClock,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    example = runpy.run_path(str(EXAMPLES / "charging_plan.py"))
    batteries: list[Any] = []

    class Battery(example["Battery"]):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            batteries.append(self)

    hourly = partial(open_dispatcher, probe_interval=HOUR)
    example["main"].__globals__.update(Battery=Battery, open_dispatcher=hourly)

    async def energy_at(hours: float, day: int = 1) -> float:
        await clock.sleep_until(START + day * 24 * HOUR + hours * HOUR)
        return float(battery.energy)

    async with running(example) as service:
        (battery,) = batteries
        assert len(await service.dispatches()) == 3
        # Calculated by hand; set-points take effect 0.2 s late.
        assert await energy_at(1.9) == 8
        assert await energy_at(3) == pytest.approx(8 + 9.5, abs=0.01)
        assert await energy_at(6) == pytest.approx(8 + 28.5, abs=0.01)
        assert await energy_at(11.5) == pytest.approx(36.5 + 2.375, abs=0.01)
        assert battery.power == 5
        assert await energy_at(13) == 40  # full
        assert battery.power == 0
        assert await energy_at(17.9) == 40
        assert await energy_at(19) == pytest.approx(28, abs=0.01)
        assert await energy_at(23) == pytest.approx(4, abs=0.01)
        printed = capsys.readouterr().out.splitlines()
        assert printed == [
            "02:00:00 battery 1 at 20%: +10 kW until 05:00",
            "05:00:00 battery 1 at 91%: off",
            "11:00:00 battery 1 at 91%: +5 kW until 15:00",
            "15:00:00 battery 1 at 100%: off",
            "18:00:00 battery 1 at 100%: -12 kW until 21:00",
            "21:00:00 battery 1 at 10%: off",
        ]
        # An update while the dispatch runs; then a dispatch that asks for too much and fails.
        wrong: dict[str, Any] = {"payload": {"power_kw": 99}}
        assert await energy_at(2.5, day=2) == pytest.approx(4 + 4.75, abs=0.01)
        await service.client.update(1, 1, payload={"power_kw": 2})
        assert await energy_at(4.5, day=2) == pytest.approx(8.75 + 3.8, abs=0.01)
        capsys.readouterr()
        await service.put(make_dispatch(9, start_time=clock.now(), duration=None, **wrong))
        await trio.sleep(1)
        assert battery.power == 0
        endless: dict[str, Any] = {
            "start_time": clock.now(),
            "duration": None,
            "payload": {"power_kw": 1},
        }
        await service.put(make_dispatch(10, **endless))
        await trio.sleep(5)
        assert battery.power == 1
        await service.store.delete(1, 9)
        capsys.readouterr()
        await service.put(make_dispatch(11, **endless, dry_run=True))
        await trio.sleep(1)
        assert battery.power == 1
        assert capsys.readouterr().out == "04:30:06 battery 1 at 31%: dry run, +1 kW without end\n"
    assert battery.power == 0
    assert "battery 1 has 15.0 kW, not 99.0" in caplog.text


async def test_two_batteries(
    autojump_clock: trio.testing.MockClock,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    example = runpy.run_path(str(EXAMPLES / "two_batteries.py"))
    async with running(example) as service:

        async def put(id_: int, seconds: int, power: float, **fields: Any) -> str:
            payload = {"power_kw": power, **fields.pop("payload", {})}
            times = {"start_time": clock.now(), "update_time": clock.now()}
            duration = seconds * SECOND
            await service.put(
                make_dispatch(id_, duration=duration, payload=payload, **(times | fields))
            )
            await trio.sleep(1)
            return capsys.readouterr().out

        async def wait(seconds: float) -> list[str]:
            await trio.sleep(seconds)
            return sorted(capsys.readouterr().out.splitlines())

        batteries = TargetCategories(ElectricalComponentCategory.BATTERY)
        both = await put(1, 100, 8, target=batteries)
        assert sorted(both.splitlines()) == ["battery 7: 8 kW", "battery 8: 5 kW"]
        # Another dispatch for one of the batteries, and for a component of another program.
        assert await put(2, 20, 3, target=TargetIds(7, 9)) == "battery 7: 3 kW\n"
        assert await put(3, 20, 4, target=TargetIds(9)) == ""
        important = {"payload": {"priority": 1}}
        assert await put(4, 60, 2, target=TargetIds(7), **important) == "battery 7: 2 kW\n"
        assert await put(5, 60, 1, target=TargetIds(7)) == ""
        dry_run = await put(6, 60, 1, target=TargetIds(8), dry_run=True)
        assert dry_run == "battery 8: dry run, would be 1 kW\n"
        assert await put(7, 60, 1000, target=TargetIds(8)) == ""
        assert await wait(57) == ["battery 7: 1 kW"]
        assert await wait(1) == ["battery 7: 8 kW"]
        assert await wait(60) == ["battery 7: 0 kW", "battery 8: 0 kW"]
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    (error,) = errors
    assert error.startswith("microgrid 1, dispatch 7: not run: its payload is invalid: ValueError")


async def test_merge_strategy(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    example = runpy.run_path(str(EXAMPLES / "merge_strategy.py"))
    async with running(example) as service:
        for id_, begin, end, target, limit in [
            (1, 10, 60, (11,), 20),
            (2, 20, 40, (12, 11), 5),
            (3, 30, 50, (21,), 9),
            (4, 30, 35, (11, 22), 30),
        ]:
            await service.put(
                make_dispatch(
                    id_,
                    type="LIMIT",
                    start_time=START + begin * MINUTE,
                    duration=(end - begin) * MINUTE,
                    target=TargetIds(*target),
                    payload={"limit_kw": limit},
                )
            )
        await trio.sleep(2 * 3600)
    printed = capsys.readouterr().out.splitlines()
    assert sorted(printed) == sorted(
        [
            "00:10 north: 20 kW",
            "00:20 north: 5 kW",
            "00:40 north: 20 kW",
            "01:00 north: no limit",
            "00:30 north: 30 kW",
            "00:30 south: 30 kW",
            "00:35 north: 5 kW",
            "00:35 south: 9 kW",
            "00:50 south: no limit",
        ]
    )


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
async def test_program_sends_its_last_command_when_it_is_stopped(signal_: signal.Signals) -> None:
    with trio.fail_after(60):
        async with (
            open_service(keys=Keys.of("secret")) as service,
            trio.open_nursery() as nursery,
        ):
            serve = partial(service.server.serve_tcp, 0, host="127.0.0.1")
            ((_, port, *_), *_) = await nursery.start(serve)
            await service.store.put(1, make_dispatch(1, duration=None, payload={"power_kw": 3}))
            url = f"grpc://127.0.0.1:{port}?ssl=false"
            program = await trio.lowlevel.open_process(
                [sys.executable, "-u", str(EXAMPLES / "by_hand.py")],
                env={**os.environ, "DISPATCH_API_URL": url, "DISPATCH_API_AUTH_KEY": "secret"},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            try:
                assert program.stdout is not None
                assert await line_of(program.stdout) == "charge TargetIds(1) with 3 kW\n"
                program.send_signal(signal_)
                assert await line_of(program.stdout) == "stop charging TargetIds(1)\n"
                assert await program.wait() == 128 + signal_
            finally:
                program.kill()
                await program.wait()
                await program.stdout.aclose()  # type: ignore[union-attr]
            nursery.cancel_scope.cancel()


async def line_of(stream: trio.abc.ReceiveStream) -> str:
    line = b""
    while not line.endswith(b"\n") and (more := await stream.receive_some(1)):
        line += more
    return line.decode()


def test_every_example_says_how_to_run_it() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert re.search(rf"\n    python {path.name}\n", path.read_text())
