"""Running without the service: the cache, orphans, pulses, and `max_offline`."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.dispatching import dispatching, waiting
from trio_dispatch import (
    Deleted,
    DispatchError,
    RunningState,
    SyncPhase,
    Updated,
    clock,
    open_dispatcher,
)
from trio_dispatch.clock import VIRTUAL_START as START
from trio_dispatch.dispatcher.agenda import Agenda
from trio_dispatch.dispatcher.cache_file import load, save
from trio_dispatch.model.recurrence.rule import Frequency, RecurrenceRule
from trio_dispatch.testing import make_dispatch, open_test_service

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


async def test_start_without_the_service_uses_the_cache(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    hourly = RecurrenceRule(Frequency.HOURLY)
    async with open_test_service() as service:
        await service.put(make_dispatch(1, duration=MINUTE, recurrence=hourly))
        await service.put(make_dispatch(2, start_time=START + 9 * HOUR))
        async with dispatching(service, cache=cache):
            await trio.sleep(5)
        await service.stop()
        began = trio.current_time()
        async with dispatching(service, cache=cache) as dispatcher:
            assert trio.current_time() == began
            assert dispatcher.dispatches.keys() == {1, 2}
            phase = dispatcher.sync_state.value.phase
            assert phase is SyncPhase.CONNECTING
            status = dispatcher.running_status_change.new_receiver()
            assert waiting(status) == [(1, "RUNNING")]
            await clock.sleep_until(START + HOUR)
            assert waiting(status) == [(1, "RUNNING")]
            phase = dispatcher.sync_state.value.phase
            assert phase in {SyncPhase.WAITING, SyncPhase.CONNECTING}
            # The service is back, and only differences are reported.
            events = dispatcher.lifecycle_events.new_receiver()
            await events.receive_batch()
            await service.store.delete(1, 2)
            await service.put(make_dispatch(1, duration=MINUTE, payload={"a": 1}))
            await service.restart()
            await trio.sleep(120)
            reported = {type(event) for event in await events.receive_batch()}
            assert reported == {Updated, Deleted}
            assert dispatcher.sync_state.value.phase is SyncPhase.LIVE


async def test_start_without_the_service_needs_no_dispatches(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    async with open_test_service() as service:
        async with dispatching(service, cache=cache):
            await trio.sleep(1)
        await service.stop()
        async with dispatching(service, cache=cache) as dispatcher:
            assert dispatcher.dispatches == {}


async def test_refusal_is_not_fatal_with_a_cache(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    async with open_test_service() as service:
        await service.put(make_dispatch(1))
        async with dispatching(service, cache=cache):
            await trio.sleep(5)
        async with open_dispatcher(
            microgrid_id=1, channel=service.channel, key="wrong", cache=cache
        ) as dispatcher:
            await trio.sleep(5)
            state = dispatcher.sync_state.value
            assert state.phase is SyncPhase.WAITING
            assert "UNAUTHENTICATED" in str(state.error)
            assert state.next_try is not None
            assert state.next_try - state.since == MINUTE


KILLED = """
import os, signal, sys
from pathlib import Path
import trio, trio.testing
from trio_dispatch import open_dispatcher
from trio_dispatch.dispatcher.cache_file import load
from trio_dispatch.testing import make_dispatch, open_test_service

async def main(cache):
    async with open_test_service() as service:
        await service.put(make_dispatch(1))
        async with open_dispatcher(
            microgrid_id=1, channel=service.channel, key=service.key, cache=cache
        ) as dispatcher:
            with dispatcher.running_status_change.new_receiver() as status:
                await status.receive()
                while not load(cache, 1) or not load(cache, 1).running:
                    await trio.sleep(1)
                os.kill(os.getpid(), signal.SIGKILL)

trio.run(main, Path(sys.argv[1]), clock=trio.testing.MockClock(autojump_threshold=0))
"""


@pytest.fixture(scope="module")
def cache_of_a_crash(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The cache of a process that was killed in the middle of a run."""
    cache = tmp_path_factory.mktemp("crash") / "cache"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(cache)], check=False)
    assert killed.returncode == -signal.SIGKILL
    return cache.read_bytes()


@pytest.mark.parametrize("meanwhile", ["over", "deleted", "gone", "still running"])
async def test_orphan_is_stopped_once_after_a_crash(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    cache_of_a_crash: bytes,
    meanwhile: str,
) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(cache_of_a_crash)
    later = HOUR / 2 if meanwhile == "still running" else 2 * HOUR
    clock.virtual_clock().set(START + later)
    async with open_test_service() as service:
        if meanwhile == "gone":
            await service.stop()
        elif meanwhile != "deleted":
            await service.put(make_dispatch(1, start_time=START))
        async with dispatching(service, cache=cache) as dispatcher:
            receivers = [dispatcher.running_status_change.new_receiver() for _ in range(2)]
            await trio.sleep(600)
            receivers.append(dispatcher.running_status_change.new_receiver())
            state = "RUNNING" if meanwhile == "still running" else "STOPPED"
            for receiver in receivers:
                assert waiting(receiver) == [(1, state)]
            if meanwhile == "still running":
                await clock.sleep_until(START + HOUR + SECOND)
                assert waiting(receivers[0]) == [(1, "STOPPED")]


async def test_run_while_the_process_was_down_does_not_hide_an_orphan(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    minutely = RecurrenceRule(Frequency.MINUTELY)
    async with open_test_service() as service:
        await service.put(make_dispatch(1, duration=10 * SECOND, recurrence=minutely))
        async with dispatching(service, cache=cache):
            await trio.sleep(5)
        # As if it had died in mid-run, two minutes ago.
        clock.virtual_clock().set(START + 140 * SECOND)
        await service.stop()
        async with dispatching(service, cache=cache) as dispatcher:
            assert waiting(dispatcher.running_status_change.new_receiver()) == [(1, "STOPPED")]


async def test_large_cache_is_restored_in_slices(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    save(cache, 1, START, {n: make_dispatch(n) for n in range(1000)}, [])
    taken, at_once = [], []
    upsert = Agenda.upsert

    def upsert_and_count(*args: Any, **kwargs: Any) -> object:
        taken.append(1)
        return upsert(*args, **kwargs)

    monkeypatch.setattr(Agenda, "upsert", upsert_and_count)

    async def watch() -> None:
        while len(taken) < 1000:
            seen = len(taken)
            await trio.lowlevel.checkpoint()
            at_once.append(len(taken) - seen)

    async with open_test_service() as service, trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        async with dispatching(service, cache=cache) as dispatcher:
            assert len(dispatcher.dispatches) == 1000
    # In a round of the scheduler either may come first.
    assert 0 < max(at_once) <= 200


WRITER = """
import os
import sys
from pathlib import Path
from trio_dispatch.dispatcher.cache_file import save
from trio_dispatch.clock import VIRTUAL_START
from trio_dispatch.testing import make_dispatch

def write():
    number = 0
    while True:
        number += 1
        entries = {id_: make_dispatch(id_, payload={"n": number}) for id_ in range(1, 200)}
        save(Path(sys.argv[1]), 1, VIRTUAL_START, entries, [number])

for _ in range(8):
    child = os.fork()
    if not child:
        write()
    print(child, flush=True)
    os.waitpid(child, 0)
    print("killed", flush=True)
"""


def test_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    rng = random.Random(1)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(cache)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for _ in range(8):
            child = int(writer.stdout.readline())
            while not cache.exists():
                time.sleep(0.01)
            time.sleep(rng.uniform(0.01, 0.15))
            os.kill(child, signal.SIGKILL)
            assert writer.stdout.readline() == "killed\n"
            known = load(cache, 1)
            assert known is not None
            (number,) = known.running
            assert len(known.dispatches) == 199
            assert {dispatch.payload["n"] for dispatch in known.dispatches} == {number}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-1], "it is damaged"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "it is damaged"),
        (lambda data: data.replace(b"cache 1", b"cache 0"), "its format is not"),
        (lambda data: data.replace(b'"microgrid_id": 1', b'"microgrid_id": 2'), "of microgrid 2"),
        (lambda data: b"\\xff\\xfe\\n", "it is not a cache"),
        (lambda data: b"[]\\n", "it is not a cache"),
        (lambda data: b"", "it is not a cache"),
    ],
)
async def test_unusable_cache_is_renamed(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Any,
    reason: str,
) -> None:
    cache = tmp_path / "cache"
    async with open_test_service() as service:
        await service.put(make_dispatch(1))
        async with dispatching(service, cache=cache):
            await trio.sleep(5)
        for name in ("cache.bad", "cache.bad1"):
            cache.write_bytes(damage(cache.read_bytes()))
            spoiled = cache.read_bytes()
            async with dispatching(service, cache=cache) as dispatcher:
                assert dispatcher.dispatches.keys() == {1}
                await trio.sleep(5)
            assert (tmp_path / name).read_bytes() == spoiled
    assert reason in caplog.text
    assert load(cache, 1) is not None


async def test_unwritable_cache_is_logged_once(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "folder" / "cache"
    cache.parent.mkdir()
    async with (
        open_test_service() as service,
        dispatching(service, cache=cache) as dispatcher,
    ):
        cache.parent.rename(tmp_path / "moved away")
        for id_ in range(3):
            await service.put(make_dispatch(id_))
            await trio.sleep(5)
        assert len(dispatcher.dispatches) == 3
    assert caplog.text.count("cannot be written") == 1


async def test_cache_is_written_at_most_once_a_second(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    replace = os.fsync

    def fsync(number: int) -> None:
        written.append(number)
        replace(number)

    monkeypatch.setattr(os, "fsync", fsync)
    async with open_test_service() as service, dispatching(service, cache=tmp_path / "cache"):
        began = trio.current_time()
        for number in range(100):
            await service.put(make_dispatch(1, payload={"n": number}))
            await trio.sleep(0.05)
        elapsed = trio.current_time() - began
    assert elapsed - 1 <= len(written) <= elapsed + 2
    known = load(tmp_path / "cache", 1)
    assert known is not None
    assert known.dispatches[0].payload == {"n": 99}


async def test_cache_is_written_after_a_pulse(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with open_test_service() as service, dispatching(service, cache=tmp_path / "cache"):
        pulse = make_dispatch(1, start_time=START + MINUTE, duration=timedelta())
        await service.put(pulse)
        await service.put(make_dispatch(2, start_time=START + 2 * MINUTE))
        await trio.sleep(130)
        known = load(tmp_path / "cache", 1)
    assert known is not None
    assert known.running == {2}


async def test_max_offline_stops_all_runs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_service() as service:
        await service.put(make_dispatch(1, duration=None))
        await service.put(make_dispatch(2, start_time=START + 3 * HOUR, duration=None))
        async with dispatching(service, max_offline=2 * HOUR) as dispatcher:
            status = dispatcher.running_status_change.new_receiver()
            assert waiting(status) == [(1, "RUNNING")]
            await trio.sleep(10)
            await service.stop()
            stopped = trio.current_time()
            message = await status.receive()
            assert (message.id, message.running()) == (1, RunningState.STOPPED)
            assert trio.current_time() == pytest.approx(stopped + 2 * 3600, abs=1)
            assert waiting(dispatcher.running_status_change.new_receiver()) == []
            await clock.sleep_until(START + 4 * HOUR)
            assert waiting(status) == []
            await service.restart()
            await dispatcher.sync_state.wait_value(lambda state: state.phase is SyncPhase.LIVE)
            await trio.sleep(1)
            assert waiting(status) == [(1, "RUNNING"), (2, "RUNNING")]


async def test_undelivered_pulse_is_kept_until_a_receiver_has_read_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_service() as service, dispatching(service) as dispatcher:
        await service.put(make_dispatch(1, start_time=clock.now(), duration=timedelta()))
        await trio.sleep(10)
        # Opening a receiver takes nothing from the others.
        receivers = [dispatcher.running_status_change.new_receiver() for _ in range(3)]
        assert [receiver.receive_nowait().pulse for receiver in receivers] == [START] * 3
        assert waiting(dispatcher.running_status_change.new_receiver()) == []


async def test_undelivered_pulse_is_kept_for_catch_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_service() as service, dispatching(service) as dispatcher:
        await service.put(make_dispatch(1, start_time=clock.now(), duration=timedelta()))
        await clock.sleep_until(START + MINUTE)
        assert waiting(dispatcher.running_status_change.new_receiver()) == [(1, "RUNNING")]
        await clock.sleep_until(START + MINUTE + SECOND)
        assert waiting(dispatcher.running_status_change.new_receiver()) == []


async def test_undelivered_pulse_is_for_receivers_of_its_type(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        open_test_service() as service,
        dispatching(service) as dispatcher,
    ):
        other = dispatcher.running_status_change.new_receiver(type="OTHER")
        await service.put(make_dispatch(1, duration=timedelta()))
        await service.put(make_dispatch(2, duration=timedelta()))
        await trio.sleep(1)
        await service.store.delete(1, 2)
        await trio.sleep(1)
        assert waiting(other) == waiting(dispatcher.running_status_change.new_receiver(type="B"))
        mine = dispatcher.running_status_change.new_receiver(type="CHARGE")
        assert waiting(mine) == [(1, "RUNNING")]


async def test_pulse_before_the_start_is_missed_without_a_cache(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_service() as service:
        await service.put(make_dispatch(1, start_time=START + 10 * SECOND, duration=timedelta()))
        pulses, missed = [], []
        for seconds in (20, 20):
            async with dispatching(service) as dispatcher:
                status = dispatcher.running_status_change.new_receiver()
                await trio.sleep(seconds)
                pulses += waiting(status)
                missed.append(dispatcher.missed_runs.new_receiver().statistics().waiting)
        assert pulses == [(1, "RUNNING")]
        assert missed == [0, 1]


@pytest.mark.parametrize("away", [5, 40, 100])
async def test_pulse_is_announced_exactly_once_with_a_cache(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, away: float
) -> None:
    due = START + 30 * SECOND
    async with open_test_service() as service:
        await service.put(make_dispatch(1, start_time=due, duration=timedelta()))
        pulses, missed = 0, 0
        for _ in range(3):
            async with dispatching(service, cache=tmp_path / "cache") as dispatcher:
                status = dispatcher.running_status_change.new_receiver()
                await trio.sleep(10)
                pulses += len(waiting(status))
                missed += dispatcher.statistics().missed
            await trio.sleep(away)
        assert (pulses, missed) == ((0, 1) if away == 100 else (1, 0))


KILLED_BY_A_PULSE = """
import os, signal, sys
import trio, trio.testing
from datetime import timedelta
from trio_dispatch import clock, open_dispatcher
from trio_dispatch.testing import make_dispatch, open_test_service

async def main(cache):
    async with (
        open_test_service() as service,
        open_dispatcher(1, channel=service.channel, key=service.key, cache=cache) as dispatcher,
        dispatcher.running_status_change.new_receiver() as status,
    ):
        start = clock.now() + timedelta(seconds=10)
        await service.put(make_dispatch(1, start_time=start, duration=timedelta()))
        assert (await status.receive()).pulse == start
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main, sys.argv[1], clock=trio.testing.MockClock(autojump_threshold=0))
"""


async def test_pulse_is_not_repeated_after_a_crash(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    killed = await clock.run_in_thread(
        partial(subprocess.run, [sys.executable, "-c", KILLED_BY_A_PULSE, str(cache)], check=False)
    )
    assert killed.returncode == -signal.SIGKILL
    clock.virtual_clock().set(START + 15 * SECOND)
    async with open_test_service() as service:
        await service.put(make_dispatch(1, start_time=START + 10 * SECOND, duration=timedelta()))
        async with dispatching(service, cache=cache) as dispatcher:
            await trio.sleep(5)
            assert waiting(dispatcher.running_status_change.new_receiver()) == []
            assert dispatcher.statistics().missed == 0


async def test_unreadable_cache_is_an_error(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with open_test_service() as service:
        with pytest.raises(
            DispatchError, match=f"the cache {tmp_path} cannot be used: Is a directory"
        ):
            async with dispatching(service, cache=tmp_path):
                pytest.fail("the block was entered")


async def test_cache_in_a_missing_folder_is_an_error(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "nowhere" / "cache"
    async with open_test_service() as service:
        with pytest.raises(DispatchError, match=f"the folder {path.parent} does not exist"):
            async with dispatching(service, cache=path):
                pytest.fail("the block was entered")


def test_failed_write_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()  # so that nothing can be moved there
    with pytest.raises(IsADirectoryError):
        save(tmp_path / "cache", 1, START, {}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
