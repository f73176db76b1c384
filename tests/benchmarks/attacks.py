"""Attacks the service, and measures what another client notices.

    python -m tests.benchmarks.attacks [--seconds S] [ATTACK ...]

Each attack meets a new ``trio-dispatch serve`` with at most 256 file descriptors.  Meanwhile
another client lists dispatches, one call after the other.  The table tells how many connections
the attackers made, how many of them were cut off and after which time; how long the slowest call of
the other client took, and how much CPU time the service used during one, which other load on the
machine does not affect; and by how much the peak of the service's resident memory grew.  The
attackers run with the lowest priority, as if they had machines of their own.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from tests.benchmarks.attackers import ATTACKS
from tests.benchmarks.harness import ROOT
from trio_dispatch import TargetIds, open_client

KEY = "a-key"
DESCRIPTORS = 256
COMMAND = Path(sys.executable).with_name("trio-dispatch")


@contextmanager
def service(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a service, and yield its process and port."""
    limited = ["sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh"]
    options = ["--listen", "127.0.0.1:0", "--db", str(folder / "db"), "--key", KEY]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*limited, str(COMMAND), "serve", *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        found = re.search(r"grpc://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found is not None
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def peak(process: subprocess.Popen[str]) -> float:
    """Return the greatest resident memory since the last `forget_peak`, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def cpu_time(process: subprocess.Popen[str]) -> float:
    """Return the CPU time that the service has used, in seconds."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def forget_peak(process: subprocess.Popen[str]) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


async def measure(name: str | None, seconds: float) -> str:
    """Make an attack, none for comparison, and return its row."""
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as (process, port):
        async with open_client(f"grpc://127.0.0.1:{port}?ssl=false", key=KEY) as client:
            start = datetime.now(UTC) + timedelta(hours=1)
            for _ in range(100):
                await client.create(
                    1,
                    type="T",
                    start_time=start,
                    duration=timedelta(hours=1),
                    target=TargetIds(1),
                    payload={"x": "y" * 3000},
                )
            for _ in range(50):
                async for _page in client.list(1, page_size=10):
                    break
            forget_peak(process)
            before = peak(process)
            calls: list[float] = []
            busy: list[float] = []
            done: list[bytes] = []
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def call() -> None:
                    while True:
                        began, used = trio.current_time(), cpu_time(process)
                        async for _page in client.list(1, page_size=10):
                            break
                        calls.append(trio.current_time() - began)
                        busy.append(cpu_time(process) - used)
                        await trio.sleep(0.005)

                await trio.sleep(0.1)
                if name is None:
                    await trio.sleep(seconds)
                else:
                    program = [sys.executable, "-m", "tests.benchmarks.attackers"]
                    run = await trio.run_process(
                        ["nice", "-n", "19", *program, name, str(port), str(seconds), KEY],
                        cwd=ROOT,
                        capture_stdout=True,
                    )
                    done.append(run.stdout)
                    await trio.sleep(0.3)
                nursery.cancel_scope.cancel()
        found = json.loads(done[0]) if done else {"made": 0, "cut": 0, "after": None}
        after = "" if found["after"] is None else f"{found['after']:.2f} s"
        return (
            f"{name or 'no attack':34}{found['made']:>7}{found['cut']:>7}{after:>9}"
            f"{len(calls):>7}{max(calls) * 1000:>9.0f} ms{max(busy) * 1000:>9.0f} ms"
            f"{peak(process) - before:>+9.1f} MiB"
        )


async def main() -> None:
    parser = argparse.ArgumentParser(description="Attack the service.")
    parser.add_argument("names", nargs="*", metavar="ATTACK")
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    print(
        f"{'attack':34}{'made':>7}{'cut':>7}{'after':>9}{'calls':>7}{'slowest':>12}{'its CPU':>12}"
        f"{'memory':>13}"
    )
    for name in options.names or [None, *ATTACKS]:
        print(await measure(name, options.seconds), flush=True)


if __name__ == "__main__":
    trio.run(main)
