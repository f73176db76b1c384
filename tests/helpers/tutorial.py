"""Follows the tutorial word by word, except for the port and for `pip install`."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE, STDOUT

import trio

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
INSTALLED = "trio-dispatch[cli,testing]"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"[Ss]ave this as `([\w.]+)`:\s*\n```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
BATTERY = re.compile(r"battery \d: .* kW")


def steps(page: str) -> list[tuple[list[str], list[str]]]:
    """The commands of each block, and the lines that the block after it says the actor prints."""
    found: list[tuple[list[str], list[str]]] = []
    for kind, block in BLOCK.findall(page):
        lines = block.splitlines()
        if kind == "console":
            found.append(([line[2:] for line in lines if line.startswith("$ ")], []))
        elif kind == "text" and found:
            # Text after a prompt that has its answer already belongs to Ctrl-C.
            if found[-1][1]:
                found.append((["Ctrl-C"], []))
            found[-1][1].extend(lines)
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Program:
    """A program in a terminal of its own."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._unread: list[str] = []
        self._partial = ""

    async def prints(self, *expected: str) -> None:
        """Wait until it has printed these lines, in any order, and no other line of a battery."""
        missing = list(expected)
        while missing:
            while not self._unread:
                await self._read()
            line = self._unread.pop(0)
            found = next((each for each in missing if line.startswith(each)), None)
            if found is not None:
                missing.remove(found)
            else:
                assert not BATTERY.match(line), f"{line!r} in place of {missing}"

    async def _read(self) -> None:
        assert self.process.stdout is not None
        some = await self.process.stdout.receive_some()
        assert some, "the program has ended"
        *lines, self._partial = (self._partial + some.decode()).split("\n")
        self._unread += lines


@asynccontextmanager
async def running(command: str, folder: Path, env: dict[str, str]) -> AsyncIterator[Program]:
    process = await trio.lowlevel.open_process(
        ["/bin/sh", "-c", f"exec {command}"], cwd=folder, env=env, stdout=PIPE, stderr=STDOUT
    )
    try:
        yield Program(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()


async def run(command: str, folder: Path, env: dict[str, str]) -> str:
    ran = await trio.run_process(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=env,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert ran.returncode == 0, (command, ran.stdout, ran.stderr)
    return ran.stdout.decode()


async def follow_tutorial(folder: Path, programs: Path) -> None:
    """Follow the tutorial in an empty folder, with the programs in another one."""
    page = PAGE.replace("50051", str(free_port()))
    files = dict(FILE.findall(page))
    assert files.keys() == {"battery.py", "charge.py", "test_charge.py"}
    for name, content in files.items():
        (folder / name).write_text(content)
    install, (serve, _), settings, (create, _), (program, _), *tries, plan, test = steps(page)
    assert install[0][2] == f"pip install '{INSTALLED}'"
    # What the environment of this run says of Python is not for another one.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"PATH": f"{programs}:{os.environ['PATH']}"}
    env |= {"PYTHONUNBUFFERED": "1", "TZ": "UTC", "HOME": str(folder)}
    env |= dict(re.findall(r"(\w+)='?([^'\n]*)", "\n".join(settings[0])))
    with trio.fail_after(120):
        # It listens elsewhere than the tutorial does by default.
        listen = re.search(r"serving on grpc://([\d.:]+)", page)
        assert listen is not None
        async with running(f"{serve[0]} --listen {listen[1]}", folder, env) as service:
            await service.prints("serving on grpc://127.0.0.1:")
            for command in create:
                assert "CHARGE" in await run(command, folder, env)
            async with running(program[0], folder, env) as charge:
                await charge.prints("ready, with 1 dispatch(es)")
                assert len(tries) == 6
                for commands, printed in tries:
                    if commands == ["Ctrl-C"]:
                        charge.process.send_signal(signal.SIGINT)
                    else:
                        for command in commands:
                            await run(command, folder, env)
                    await charge.prints(*printed)
                assert await charge.process.wait() == 128 + signal.SIGINT
            async with running(program[0], folder, env) as charge:
                await charge.prints("ready, with 4 dispatch(es)", "battery 7: 4 kW")
                charge.process.terminate()
                await charge.prints("battery 7: 0 kW")
                assert await charge.process.wait() == 128 + signal.SIGTERM
            night, noon, timeline, picture = plan[0]
            for command in (night, noon):
                assert "next run" in await run(command, folder, env)
            assert "CHARGE" in await run(timeline, folder, env)
            await run(picture, folder, env)
            assert "<html" in (folder / "plan.html").read_text()
            assert "1 passed" in await run(test[0][0], folder, env)
