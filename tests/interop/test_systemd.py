"""`trio_dispatch.run` in a process of its own: signals, and a real notification socket."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE

import pytest
import trio
import trio.socket

from tests.helpers.interop.ours import serve_here
from tests.helpers.interop.peers import within
from trio_dispatch import TargetIds, open_client
from trio_dispatch.service import Keys

PROGRAM = """
import signal, sys, time
import trio
import trio_dispatch
from trio_dispatch.process import notify_ready

async def main():
    await trio.sleep({start})
    notify_ready()
    notify_ready()
    print("ready", flush=True)
    try:
        {body}
    finally:
        print("cleaning up", flush=True)
        with trio.CancelScope(shield=True):
            await trio.sleep({cleanup})
        print("cleaned up", flush=True)

trio_dispatch.run(main)
"""


class Manager:
    """The service manager's end of a notification socket."""

    def __init__(self, listening: trio.socket.SocketType, address: str) -> None:
        self.listening = listening
        self.address = address

    def pending(self) -> bool:
        """Whether a message waits."""
        return bool(select.select([self.listening.fileno()], [], [], 0)[0])

    async def message(self, ignoring: str = "") -> str:
        """The next message, other than one to ignore."""
        while True:
            data = await self.listening.recv(4096)
            if data.decode() != ignoring:
                return data.decode()


@pytest.fixture(params=["path", "abstract"])
async def manager(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Manager]:
    path = str(tmp_path / "notify")
    address = path if request.param == "path" else f"\0trio-dispatch-{os.getpid()}-{tmp_path.name}"
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        await listening.bind(address)
        yield Manager(listening, address.replace("\0", "@"))


@asynccontextmanager
async def program(
    body: str = "await trio.sleep_forever()",
    *,
    start: float = 0,
    cleanup: float | str = 0,
    **environment: str,
) -> AsyncIterator[trio.Process]:
    code = PROGRAM.format(body=body, start=start, cleanup=cleanup)
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", code],
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                assert pipe is not None
                await pipe.aclose()


async def until(process: trio.Process, word: str) -> None:
    seen = b""
    assert process.stdout is not None
    while word.encode() not in seen:
        some = await process.stdout.receive_some()
        assert some, seen
        seen += some


async def errors(process: trio.Process) -> str:
    assert process.stderr is not None
    return b"".join([bytes(some) async for some in process.stderr]).decode()


@within(60)
async def test_ready_watchdog_and_stopping(manager: Manager) -> None:
    async with program(
        start=0.3, cleanup=0.3, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="200000"
    ) as process:
        assert await manager.message() == "WATCHDOG=1", "while it starts"
        assert await manager.message(ignoring="WATCHDOG=1") == "READY=1"
        assert await manager.message() == "WATCHDOG=1"
        process.send_signal(signal.SIGTERM)
        assert await manager.message(ignoring="WATCHDOG=1") == "STOPPING=1"
        assert await manager.message() == "WATCHDOG=1", "while it cleans up"
        assert await process.wait() == 143
        assert await errors(process) == ""


@within(60)
async def test_a_blocked_loop_does_not_feed_the_watchdog(manager: Manager) -> None:
    async with program(
        "print('blocked', flush=True); sys.stdin.readline(); await trio.sleep_forever()",
        NOTIFY_SOCKET=manager.address,
        WATCHDOG_USEC="100000",
    ) as process:
        await until(process, "blocked")
        while manager.pending():  # what was sent before
            await manager.message()
        with trio.move_on_after(0.5) as patience:
            await manager.message()
        assert patience.cancelled_caught
        assert process.stdin is not None
        await process.stdin.send_all(b"\n")
        assert await manager.message() == "WATCHDOG=1"


@within(60)
async def test_a_watchdog_of_another_process_is_not_fed(manager: Manager) -> None:
    async with program(
        "pass", NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="1000", WATCHDOG_PID="1"
    ) as process:
        assert await manager.message() == "READY=1"
        assert await manager.message() == "STOPPING=1"
        assert await process.wait() == 0


@within(60)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_exit_status_of_a_signal(number: signal.Signals) -> None:
    async with program() as process:
        await until(process, "ready")
        process.send_signal(number)
        await until(process, "cleaned up")
        assert await process.wait() == 128 + number
        assert await errors(process) == ""


@within(60)
@pytest.mark.parametrize("cleanup", ["3600", "0); time.sleep(3600"])
async def test_a_second_signal_ends_the_process_at_once(cleanup: str) -> None:
    """Also if the cleanup is shielded, or blocks the loop."""
    async with program(cleanup=cleanup) as process:
        await until(process, "ready")
        process.send_signal(signal.SIGTERM)
        await until(process, "cleaning up")
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        assert await errors(process) == ""


DISPATCHER = """
import sys
import trio
import trio_dispatch

async def main():
    async with trio_dispatch.open_dispatcher(
        1, server_url=sys.argv[1], key="k", cache=sys.argv[2]
    ) as dispatcher:
        print("opened", flush=True)
        await trio.sleep_forever()

trio_dispatch.run(main)
"""


@within(60)
async def test_a_dispatcher_is_ready_when_it_knows_the_dispatches(tmp_path: Path) -> None:
    """From the service, or without it from the cache."""
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        await listening.bind(str(tmp_path / "notify"))
        manager, cache = Manager(listening, ""), tmp_path / "cache"

        async def runs(url: str) -> None:
            command = [sys.executable, "-c", DISPATCHER, url, str(cache)]
            process = await trio.lowlevel.open_process(command, env=environment)
            try:
                assert await manager.message() == "READY=1"
                while not cache.exists():  # noqa: ASYNC110
                    await trio.sleep(0.05)
                process.terminate()
                assert await manager.message() == "STOPPING=1"
                assert await process.wait() == 143
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()

        async with serve_here(tmp_path / "dispatches.db", Keys.of("k")) as service:
            async with open_client(service.url, key="k") as client:
                await client.create(
                    1, type="A", start_time="NOW", duration=None, target=TargetIds(1)
                )
            await runs(service.url)
        await runs("grpc://127.0.0.1:1?ssl=false")


@within(60)
async def test_serve_is_ready_when_it_listens_and_again_after_each_reload(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('[[keys]]\nkey = "k"\n')
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        await listening.bind(str(tmp_path / "notify"))
        manager = Manager(listening, "")
        command = [sys.executable, "-m", "trio_dispatch.cli", "serve", "--listen", "127.0.0.1:0"]
        command += ["--keys", str(keys)]
        process = await trio.lowlevel.open_process(
            command, env=environment, stdout=PIPE, stderr=PIPE
        )
        try:
            assert await manager.message() == "READY=1"
            assert process.stdout is not None
            assert b"serving on grpc://127.0.0.1:" in await process.stdout.receive_some()
            for text in ('[[keys]]\nkey = "new"\n', "invalid"):
                keys.write_text(text)
                before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                process.send_signal(signal.SIGHUP)
                state, _, stamp = (await manager.message()).partition("\nMONOTONIC_USEC=")
                assert state == "RELOADING=1"
                assert before <= int(stamp) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                assert await manager.message() == "READY=1"
            process.terminate()
            assert await manager.message() == "STOPPING=1"
            assert await process.wait() == 0, "running calls have finished"
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                for pipe in (process.stdout, process.stderr):
                    assert pipe is not None
                    await pipe.aclose()
