"""A test logs the same each time, whatever Python's hashes and addresses are."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SCENARIO = '''
"""Hours with many faults and everything that depends on random numbers."""

import logging
import random
from datetime import timedelta
from pathlib import Path

import trio
from trio_dispatch import Frequency, RecurrenceRule, TargetIds, clock
from trio_dispatch.grpc import Status
from trio_dispatch.testing import make_dispatch

HOURLY = RecurrenceRule(Frequency.HOURLY)


async def test_hours(virtual_clock, dispatch_service, dispatcher, nursery):
    lines = []

    def note(*words):
        lines.append(" ".join(map(str, (clock.now(), *words))))

    class Handler(logging.Handler):
        def emit(self, record):
            note(record.name, record.levelname, record.getMessage())

    handler = Handler()
    logging.getLogger("trio_dispatch").addHandler(handler)
    logging.getLogger("trio_dispatch").setLevel(logging.DEBUG)

    async def follow(number, receiver):
        async for message in receiver:
            note("receiver", number, message)
            await trio.sleep(random.choice([0, 0, 1]))

    async def change(number):
        while True:
            await trio.sleep(random.uniform(0, 1200))
            power = random.randrange(10)
            try:
                await dispatch_service.client.update(1, number, payload={"power_kw": power})
            except Exception as exc:
                note("change", number, exc)

    for number in range(1, 9):
        await dispatch_service.put(
            make_dispatch(
                number,
                recurrence=HOURLY,
                duration=timedelta(minutes=10 * (number % 3 + 1)),
                payload={"power_kw": number},
                target=TargetIds(number, number + 1),
            )
        )
        nursery.start_soon(follow, number, dispatcher.running_status_change.new_receiver())
        nursery.start_soon(follow, -number, dispatcher.lifecycle_events.new_receiver())
        nursery.start_soon(change, number)
    for _ in range(6):
        await virtual_clock.advance(timedelta(minutes=20))
        for method in ("stream", "list"):
            dispatch_service.fail_next(method, Status.UNAVAILABLE, times=random.randrange(1, 5))
        match random.randrange(4):
            case 0:
                await dispatch_service.drop_connections()
            case 1:
                await dispatch_service.restart()
            case 2:
                dispatch_service.end_streams()
            case 3:
                dispatch_service.delay("list", "update", seconds=random.uniform(0, 20)).close()
    logging.getLogger("trio_dispatch").removeHandler(handler)
    assert len(lines) > 700
    Path("log").write_text("\\n".join(lines))
'''


def log_of(folder: Path, hash_seed: int) -> str:
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    # Different addresses.
    (folder / "conftest.py").write_text(
        f"ballast = [object() for _ in range({hash_seed * 7777})]\n"
    )
    (folder / "test_scenario.py").write_text(SCENARIO)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return (folder / "log").read_text()


def test_the_log_of_a_test_is_the_same_each_time(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as executor:
        logs = list(executor.map(lambda seed: log_of(tmp_path / str(seed), seed), range(2)))
    assert logs[0].splitlines() == logs[1].splitlines()
