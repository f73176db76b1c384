"""The official command ``dispatch-cli``, and our service run by its command."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import trio
from ccore import KEY, MICROGRID
from ours import OurService, serve, update_again_and_again
from peers import interop_python, run, start, within

from trio_dispatch import (
    BatteryType,
    Dispatch,
    DispatchClient,
    ElectricalComponentCategory,
    Frequency,
    TargetCategories,
    TargetIds,
    Weekday,
)

Command = Callable[..., Awaitable[CompletedProcess[str]]]


def command_line(service: OurService, *arguments: str, key: str = KEY) -> list[str]:
    command = interop_python().with_name("dispatch-cli")
    return [str(command), "--url", service.url, "--auth-key", key, "--raw", *arguments]


@pytest.fixture
async def service(clean_environment: None, tmp_path: Path) -> AsyncIterator[OurService]:
    """Our service, run by its command."""
    async with serve(tmp_path / "dispatches.db") as service:
        yield service


@pytest.fixture
def dispatch_cli(service: OurService) -> Command:
    """Runs it with some arguments, to its end."""

    async def run_it(*arguments: str, key: str = KEY) -> CompletedProcess[str]:
        return await run(*command_line(service, *arguments, key=key))

    return run_it


def ids_in(output: str) -> list[int]:
    return [int(found) for found in re.findall(r"DispatchId\((\d+)\)", output)]


async def create(client: DispatchClient, type: str = "CHARGE") -> Dispatch:
    start = datetime.now(UTC) + timedelta(hours=1)
    return await client.create(
        MICROGRID, type=type, start_time=start, duration=timedelta(hours=1), target=TargetIds(1)
    )


@within(30)
async def test_create_get_update_delete(dispatch_cli: Command, ours: DispatchClient) -> None:
    fields = ["CHARGE", "BATTERY,LI_ION", "in 1 hour", "90"]
    options = ["--payload", '{"power": 5}', "--dry-run", "true", "--active", "false"]
    rule = ["--frequency", "WEEKLY", "--interval", "2", "--count", "3", "--by-weekday", "FRIDAY"]
    done = await dispatch_cli("create", "1", *fields, *options, *rule)
    assert done.returncode == 0
    assert "Dispatch created." in done.stdout
    [id_] = ids_in(done.stdout)

    stored = await ours.get(MICROGRID, id_)
    assert stored.type == "CHARGE"
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    assert abs(stored.start_time - in_an_hour) < timedelta(seconds=30)
    assert stored.duration == timedelta(seconds=90)
    assert stored.target == TargetCategories(
        ElectricalComponentCategory.BATTERY, BatteryType.LI_ION
    )
    assert (stored.active, stored.dry_run, stored.payload) == (False, True, {"power": 5.0})
    assert stored.recurrence is not None
    assert stored.recurrence.frequency is Frequency.WEEKLY
    assert stored.recurrence.interval == 2
    assert stored.recurrence.byweekdays == (Weekday.FRIDAY,)
    assert stored.recurrence.end_criteria is not None
    assert stored.recurrence.end_criteria.count == 3

    shown = await dispatch_cli("get", "1", str(id_))
    assert shown.returncode == 0
    assert f"start_time={stored.start_time!r}" in shown.stdout
    assert "payload={'power': 5.0}" in shown.stdout

    done = await dispatch_cli(
        "update", "1", str(id_), "--active", "true", "--target", "7,8", "--no-duration"
    )
    assert done.returncode == 0
    updated = await ours.get(MICROGRID, id_)
    assert (updated.active, updated.target, updated.duration) == (True, TargetIds(7, 8), None)
    assert (updated.payload, updated.recurrence) == (stored.payload, stored.recurrence)

    done = await dispatch_cli("delete", "1", str(id_))
    assert done.returncode == 0
    assert f"Dispatches deleted: [{id_}]" in done.stdout
    assert [page.total async for page in ours.list(MICROGRID)] == [0]


@within(30)
async def test_list(dispatch_cli: Command, ours: DispatchClient) -> None:
    for number in range(5):
        await create(ours, "ODD" if number % 2 else "EVEN")
    done = await dispatch_cli("list", "1", "--page-size", "2")
    assert done.returncode == 0
    assert ids_in(done.stdout) == [5, 4, 3, 2, 1]
    assert "5 dispatches, 0 filtered out." in done.stdout
    done = await dispatch_cli("list", "1", "--page-size", "2", "--filter-queries", "EVEN")
    assert ids_in(done.stdout) == [5, 3, 1]


@within(30)
async def test_stream(service: OurService, ours: DispatchClient) -> None:
    first = await create(ours)
    async with start(*command_line(service, "stream", "1")) as cli:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(update_again_and_again, ours, first.id)
            await cli.line()
            nursery.cancel_scope.cancel()

        second = await create(ours)
        await ours.delete(MICROGRID, second.id)
        output = ""
        while "DELETED" not in output:
            output += await cli.line()
        assert output.count(f"DispatchId({second.id})") == 2
        assert output.index("CREATED") < output.index("DELETED")


@within(30)
async def test_errors(dispatch_cli: Command, ours: DispatchClient) -> None:
    created = await create(ours)
    for arguments, key, error in (
        (["get", "1", "99"], KEY, "NOT_FOUND"),
        (["update", "1", "99", "--active", "false"], KEY, "NOT_FOUND"),
        (["update", "1", "1", "--start-time", "1 hour ago"], KEY, "INVALID_ARGUMENT"),
        (["delete", "1", "1"], "another-key", "UNAUTHENTICATED"),
    ):
        done = await dispatch_cli(*arguments, key=key)
        assert done.returncode != 0
        assert error in done.stderr
    assert await ours.get(MICROGRID, 1) == created
