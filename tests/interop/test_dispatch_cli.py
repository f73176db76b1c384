"""The official command ``dispatch-cli`` with our service, which has keys, signatures and TLS."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import trio
import trustme

from tests.helpers.interop.ccore import KEY, MICROGRID
from tests.helpers.interop.ours import update_again_and_again
from tests.helpers.interop.peers import interop_python, run, start, within
from tests.helpers.interop.service_runner import RunningService, run_service
from trio_dispatch import (
    BatteryType,
    Dispatch,
    DispatchClient,
    ElectricalComponentCategory,
    Frequency,
    TargetCategories,
    TargetIds,
    Weekday,
    open_client,
)

Command = Callable[..., Awaitable[CompletedProcess[str]]]


SECRET = "a-secret"


def command_line(
    service: RunningService, *arguments: str, key: str = KEY, secret: str | None = SECRET
) -> list[str]:
    command = interop_python().with_name("dispatch-cli")
    signing = [] if secret is None else ["--sign-secret", secret]
    return [str(command), "--url", service.url, "--auth-key", key, *signing, "--raw", *arguments]


@pytest.fixture
async def service(clean_environment: None, tmp_path: Path) -> AsyncIterator[RunningService]:
    """Our service as a process, with a file of keys, signed requests and TLS."""
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca)
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    keys = tmp_path / "keys.toml"
    keys.write_text(
        f'[[keys]]\nkey = "{KEY}"\nsecret = "{SECRET}"\n'
        f'[[keys]]\nkey = "reader"\nsecret = "{SECRET}"\nrights = ["read"]\nmicrogrids = [1]\n'
    )
    keys.chmod(0o600)
    options = ("--keys", keys, "--tls-cert", cert, "--tls-key", key)
    db = tmp_path / "dispatches.db"
    async with run_service(tmp_path / "log", *options, "--db", db) as service:
        service.url += f"?ssl_root_certificates_path={ca}"
        yield service
        await service.stop()
        assert SECRET not in service.log()


@pytest.fixture
async def ours(service: RunningService) -> AsyncIterator[DispatchClient]:
    """Our client of our service."""
    async with open_client(service.url, key=KEY, sign_secret=SECRET) as client:
        yield client


@pytest.fixture
def dispatch_cli(service: RunningService) -> Command:
    """Runs the command with some arguments."""

    async def run_it(
        *arguments: str, key: str = KEY, secret: str | None = SECRET
    ) -> CompletedProcess[str]:
        return await run(*command_line(service, *arguments, key=key, secret=secret))

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
async def test_stream(service: RunningService, ours: DispatchClient) -> None:
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
    for arguments, who, error in (
        (["get", "1", "99"], {}, "NOT_FOUND"),
        (["update", "1", "1", "--start-time", "1 hour ago"], {}, "INVALID_ARGUMENT"),
        (["delete", "1", "1"], {"secret": "another-secret"}, "UNAUTHENTICATED"),
        (["delete", "1", "1"], {"key": "reader"}, "PERMISSION_DENIED"),
    ):
        done = await dispatch_cli(*arguments, **who)
        assert done.returncode != 0
        assert error in done.stderr
    assert str(created.id) in (await dispatch_cli("list", "1", key="reader")).stdout
    assert await ours.get(MICROGRID, 1) == created


@within(30)
async def test_interactive(service: RunningService, ours: DispatchClient, tmp_path: Path) -> None:
    """Commands typed at its prompt, each of which signs its call."""
    first, second = await create(ours), await create(ours)
    done = await trio.run_process(
        command_line(service, "repl"),
        stdin=f"list 1\ndelete 1 {first.id}\nget 1 {first.id}\nlist 1\nexit\n".encode(),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    output = done.stdout.decode()
    assert done.returncode == 0
    assert "2 dispatches, 0 filtered out." in output
    assert f"Dispatches deleted: [{first.id}]" in output
    assert "1 dispatches, 0 filtered out." in output
    assert await ours.get(MICROGRID, second.id) == second
