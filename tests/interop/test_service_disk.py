"""A full disk, and a database that another program has locked."""

# ruff: noqa: ASYNC110, PT012 - what is waited for tells nobody, and may come at any step

from __future__ import annotations

import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.helpers.interop.peers import within
from tests.helpers.interop.service_runner import RunningService, run_service
from trio_dispatch import Dispatch, DispatchClient, ServiceError, TargetIds, open_client
from trio_dispatch.grpc import Status

KEY = "k"


async def create(client: DispatchClient, size: int = 0) -> Dispatch:
    return await client.create(
        1,
        type="CHARGE",
        start_time=datetime.now(UTC) + timedelta(hours=1),
        duration=timedelta(hours=1),
        target=TargetIds(1),
        payload={"filler": "x" * size},
    )


async def listed(client: DispatchClient) -> dict[int, Dispatch]:
    return {found.id: found async for page in client.list(1) for found in page}


def mount(directory: Path, size: str) -> str | None:
    """Mount a small file system; return the error, if any."""
    directory.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip() or None


@contextmanager
def full_tmpfs(service: RunningService, directory: Path) -> Iterator[None]:
    """Fill the file system of a service."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            for size in (4096, 512, 1):
                with pytest.raises(OSError, match="No space left"):
                    while True:
                        file.write(b"x" * size)
            yield
        finally:
            ballast.unlink()


@contextmanager
def full_quota(service: RunningService, directory: Path) -> Iterator[None]:
    """Keep the files of a service from growing."""
    pid = service.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    sizes = [file.stat().st_size for file in directory.iterdir() if "-shm" not in file.name]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (max(sizes) // 4096 * 4096, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


async def until_refused(client: DispatchClient, known: dict[int, Dispatch]) -> ServiceError:
    """Create dispatches until one is refused."""
    with pytest.raises(ServiceError) as caught:
        for _ in range(1000):
            made = await create(client, 20_000)
            known[made.id] = made
    return caught.value


async def check_a_full_disk(
    tmp_path: Path,
    directory: Path,
    fill: Callable[[RunningService, Path], Any],
    status: set[Status],
) -> None:
    log = tmp_path / "log"
    async with (
        run_service(log, "--key", KEY, "--db", directory / "x.db") as service,
        open_client(service.url, key=KEY) as client,
        trio.open_nursery() as nursery,
    ):
        seen: list[int] = []

        async def watch() -> None:
            async for event in events:
                assert event.dispatch.id is not None
                seen.append(event.dispatch.id)

        async with client.stream(1) as events:
            nursery.start_soon(watch)
            await events.started.wait()
            first = await create(client)
            known = {first.id: first}
            with fill(service, directory):
                refused = await until_refused(client, known)
                assert refused.status in status
                assert str(directory) not in str(refused)
                # The dispatches are still there, and can be read.
                assert await listed(client) == known
                assert (await until_refused(client, known)).status in status
            # With free space it works again, without a restart.
            for _ in range(3):
                made = await create(client, 1000)
                known[made.id] = made
            updated = await client.update(1, first.id, active=False)
            known[first.id] = updated
            assert await listed(client) == known
            while len(seen) < len(known) + 1:
                await trio.sleep(0.01)
            assert sorted(set(seen)) == sorted(known)
            nursery.cancel_scope.cancel()
        await service.stop()
    async with (
        run_service(log, "--key", KEY, "--db", directory / "x.db") as service,
        open_client(service.url, key=KEY) as client,
    ):
        assert await listed(client) == known


@within(60)
async def test_a_full_disk(tmp_path: Path) -> None:
    """On a file system of one megabyte; a file size limit where none can be mounted."""
    directory = tmp_path / "small"
    with ExitStack() as stack:
        error = mount(directory, "1m")
        if error is None:
            stack.callback(lambda: subprocess.run(["umount", "--lazy", directory], check=True))
            fill, status = full_tmpfs, {Status.RESOURCE_EXHAUSTED}
        else:
            fill, status = full_quota, {Status.RESOURCE_EXHAUSTED, Status.UNAVAILABLE}
        await check_a_full_disk(tmp_path, directory, fill, status)


@within(60)
async def test_a_file_size_limit(tmp_path: Path) -> None:
    """A write fails halfway, which SQLite takes for a fault of the disk."""
    directory = tmp_path / "limited"
    directory.mkdir()
    status = {Status.RESOURCE_EXHAUSTED, Status.UNAVAILABLE}
    await check_a_full_disk(tmp_path, directory, full_quota, status)


@within(60)
async def test_a_locked_database(tmp_path: Path) -> None:
    db = tmp_path / "x.db"
    async with (
        run_service(tmp_path / "log", "--key", KEY, "--db", db) as service,
        open_client(service.url, key=KEY) as client,
    ):
        first = await create(client)
        other = sqlite3.connect(db, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ServiceError) as caught:
            await create(client)
        assert caught.value.status is Status.UNAVAILABLE
        assert await listed(client) == {first.id: first}
        other.execute("ROLLBACK")
        other.close()
        second = await create(client)
        assert await listed(client) == {first.id: first, second.id: second}
        told = [line for line in service.log_lines() if "locked" in line["message"]]
        assert told
        await service.stop()
