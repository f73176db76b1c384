"""The tutorial, followed word by word, but for the port and for what pip has installed."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE, STDOUT

import trio

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"[Ss]ave this as `([\w.]+)`:\s*\n```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    return [
        line.removeprefix("$ ")
        for kind, block in BLOCK.findall(page)
        if kind == "console"
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


def write_files(page: str, folder: Path) -> set[str]:
    """Save what is to be saved; the names of the files."""
    files = dict(FILE.findall(page))
    for name, content in files.items():
        (folder / name).write_text(content)
    return set(files)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Program:
    """A program in a terminal of its own."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._said = ""

    async def says(self, text: str) -> None:
        """Wait until it has said that, and forget all up to there."""
        assert self.process.stdout is not None
        while text not in self._said:
            some = await self.process.stdout.receive_some()
            assert some, f"it ended without {text!r}: {self._said}"
            self._said += some.decode()
        self._said = self._said.partition(text)[2]


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


async def test_the_tutorial(tmp_path: Path) -> None:
    page = PAGE.replace("50051", str(free_port()))
    assert write_files(page, tmp_path) == {"battery.py", "charge.py", "test_charge.py"}
    setup, (serve, *rest) = commands(page)[:3], commands(page)[3:]
    assert setup[2] == "pip install 'trio-dispatch[cli,testing]'"
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env |= {"PYTHONUNBUFFERED": "1", "TZ": "UTC", "HOME": str(tmp_path)}
    with trio.fail_after(60):
        # It listens elsewhere than the tutorial does by default.
        listen = re.search(r"serving on grpc://([\d.:]+)", page)
        assert listen is not None
        async with running(f"{serve} --listen {listen[1]}", tmp_path, env) as service:
            await service.says("serving on grpc://127.0.0.1:")
            while rest[0].startswith("export "):
                name, _, value = rest.pop(0).removeprefix("export ").partition("=")
                env[name] = value.strip("'")
            create, show, program, *now, night, noon, timeline, picture, test = rest
            assert "CHARGE" in await run(create, tmp_path, env)
            assert "CHARGE" in await run(show, tmp_path, env)
            async with running(program, tmp_path, env) as charge:
                await charge.says("ready, with 1 dispatch(es)")
                said = re.findall(r"^battery: \d kW$", page, re.MULTILINE)
                assert len(said) == len(now) == 3
                for command, answer in zip(now, said, strict=True):
                    await run(command, tmp_path, env)
                    await charge.says(answer)
            for command in (night, noon):
                assert "next run" in await run(command, tmp_path, env)
            assert "CHARGE" in await run(timeline, tmp_path, env)
            await run(picture, tmp_path, env)
            assert "<html" in (tmp_path / "plan.html").read_text()
            assert "1 passed" in await run(test, tmp_path, env)
