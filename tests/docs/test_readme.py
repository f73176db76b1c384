"""The examples of the README run unchanged, except for the port."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_dispatch.api import wire
from trio_dispatch.service import Keys, open_service

README = (Path(__file__).parents[2] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def main_of(example: str, port: int) -> Any:
    """The `main` of an example, with the port replaced."""
    source, run, rest = example.rpartition("\ntrio")
    assert (run + rest).strip() in {"trio.run(main)", "trio_dispatch.run(main)"}
    assert ":50051" in source
    names: dict[str, Any] = {}
    exec(source.replace(":50051", f":{port}"), names)
    return names["main"]


async def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    follow, act, create = EXAMPLES
    battery = "TargetCategories(BATTERY:LI_ION)"
    with trio.fail_after(30):
        async with open_service(keys=Keys.of("secret")) as service, trio.open_nursery() as nursery:
            ((_, port, *_), *_) = await nursery.start(
                partial(service.server.serve_tcp, 0, host="127.0.0.1")
            )
            nursery.start_soon(main_of(follow, port))
            nursery.start_soon(main_of(act, port))
            await main_of(create, port)()
            printed = capsys.readouterr().out
            assert printed.startswith("created Dispatch(id=1, type='CHARGE'")
            row = await service.store.get(1, 1)
            await service.store.update(1, 1, without_rule, now=row.update_time)
            started = [f"charge {battery}", *(f"battery {n} charges with 5.0 kW" for n in (7, 8))]
            while not all(line in printed for line in started):
                await trio.lowlevel.checkpoint()
                printed += capsys.readouterr().out
            await service.store.delete(1, 1)
            stopped = [f"stop {battery}", "battery 7 stops", "battery 8 stops"]
            while not all(line in printed for line in stopped):
                await trio.lowlevel.checkpoint()
                printed += capsys.readouterr().out
            nursery.cancel_scope.cancel()


def without_rule(data: wire.DispatchData) -> wire.DispatchData:
    """Make it run now, at whatever time the test runs."""
    data.recurrence = None
    return data


def test_the_make_commands_exist() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    commands = re.findall(r"^\$ make (\w+)", README, re.MULTILINE)
    assert commands[:2] == ["demo", "test"]
    for command in commands:
        assert f"\n{command}:" in makefile
