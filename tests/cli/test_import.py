"""``import`` into a service: each line is created once, whenever the import is interrupted."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.commanding import Cli, ServiceThread, on_virtual_time, settings_for
from tests.helpers.effort import cases
from trio_dispatch import Dispatch, DispatchClient, TargetIds
from trio_dispatch.cli.app.run import Failure
from trio_dispatch.cli.app.settings import Settings
from trio_dispatch.cli.commands.journal import Heading, Journal
from trio_dispatch.cli.commands.transfer import import_entries
from trio_dispatch.testing import make_dispatch, open_test_service
from trio_dispatch.text.files import Entry

LATER = datetime(2090, 1, 1, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)


def plan_of(*dispatches: Dispatch) -> str:
    records = [
        {
            "type": each.type,
            "start_time": each.start_time.isoformat(),
            "duration": int(each.duration.total_seconds()) if each.duration else None,
            "target": [1],
        }
        for each in dispatches
    ]
    return "".join(f"{json.dumps(record)}\n" for record in records)


PLAN = plan_of(
    *(make_dispatch(type=f"T{n}", start_time=LATER + n * HOUR) for n in range(3)),
    make_dispatch(type="PAST", start_time=datetime(2020, 1, 1, tzinfo=UTC)),
)


def test_without_apply_it_only_shows_the_plan(cli: Cli, service_thread: ServiceThread) -> None:
    path = cli.directory / "plan.jsonl"
    path.write_text(PLAN)
    result = cli("import", str(path))
    assert result.exit_code == 0
    assert "4 to create in microgrid 1: 1 T0, 1 T1, 1 T2, 1 PAST" in result.stderr
    assert "the service will refuse 1 that start in the past" in result.stderr
    assert "the first is line 4" in result.stderr
    assert "nothing was done: give --apply to do it" in result.stderr
    assert [record["action"] for record in cli.json("import", str(path))] == [
        "create", "create", "create", "refuse",
    ]  # fmt: skip
    assert service_thread.dispatches() == {}
    assert [*cli.directory.glob("plan*")] == [path]


def test_refused_lines_are_listed(cli: Cli, service_thread: ServiceThread) -> None:
    path = cli.directory / "plan.jsonl"
    path.write_text(PLAN)
    result = cli("import", str(path), "--apply", "--json")
    assert result.exit_code == 1
    assert "line 4 was refused: start_time must not be in the past" in result.stderr
    assert "3 created, 1 refused" in result.stderr
    *created, refused = map(json.loads, result.stdout.splitlines())
    assert [record["line"] for record in created] == [1, 2, 3]
    assert refused["line"] == 4
    assert Counter(each.type for each in service_thread.dispatches().values()) == {
        "T0": 1, "T1": 1, "T2": 1,
    }  # fmt: skip
    again = cli("import", str(path), "--apply")
    assert again.exit_code == 1, "it is refused again"
    assert "3 of 4 were created before" in again.stderr
    assert len(service_thread.dispatches()) == 3


def test_a_finished_import_does_nothing(cli: Cli, service_thread: ServiceThread) -> None:
    path = cli.directory / "plan.csv"
    path.write_text('type,start_time,duration,target\nA,2090-01-01 08:00,1h,"1,2"\n')
    cli.ok("import", str(path), "--apply")
    result = cli("import", str(path))
    assert (result.exit_code, "1 of 1 were created before" in result.stderr) == (0, True)
    cli.ok("import", str(path), "--apply")
    (dispatch,) = service_thread.dispatches().values()
    assert dispatch.start_time == LATER
    assert dispatch.target == TargetIds(1, 2)


def test_a_journal_of_another_import(cli: Cli) -> None:
    path = cli.directory / "plan.jsonl"
    path.write_text(PLAN)
    cli("import", str(path), "--apply")
    assert "it was into microgrid 1, not 2" in cli.fails(
        2, "import", str(path), "--apply", "-m", "2"
    )
    path.write_text(PLAN[: PLAN.index("\n") + 1])
    said = cli.fails(2, "import", str(path), "--apply")
    assert "the file has changed since" in said
    assert "remove this one to start again" in said
    cli.ok("import", str(path), "--apply", "--journal", str(cli.directory / "other"))
    path.with_name("plan.jsonl.journal").write_text("Buy milk.\n")
    said = cli.fails(2, "import", str(path), "--apply")
    assert "is not the journal of an import: line 1 is invalid" in said


def test_import_from_stdin(cli: Cli, service_thread: ServiceThread) -> None:
    result = cli("import", "-", "--apply", input=PLAN)
    assert (result.exit_code, len(service_thread.dispatches())) == (1, 3)
    assert "an interrupted import of stdin cannot be resumed" in result.stderr


def test_an_unreachable_service(cli: Cli) -> None:
    path = cli.directory / "plan.jsonl"
    path.write_text(PLAN)
    cli.fails(4, "import", str(path), "--apply", "--url", "grpc://127.0.0.1:1?ssl=false")


def test_a_killed_import_is_resumed(cli: Cli, service_thread: ServiceThread) -> None:
    path = cli.directory / "plan.jsonl"
    count = 600
    path.write_text(
        plan_of(*(make_dispatch(type=f"T{n // 2}", start_time=LATER) for n in range(count)))
    )
    kills, begun = 0, service_thread.last_id
    while True:
        process = cli.start("import", str(path), "--apply")
        bound = begun + min(count, (kills + 1) * 120)
        while process.poll() is None and service_thread.last_id < bound:
            time.sleep(0.005)
        if process.poll() is None and kills < 3:
            process.kill()
            kills += 1
        out, err = process.communicate(timeout=120)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, (out, err)
    assert kills == 3
    assert Counter(each.type for each in service_thread.dispatches().values()) == {
        f"T{n}": 2 for n in range(count // 2)
    }


class _KilledError(BaseException):
    """The process dies here."""


class _DyingClient:
    """A client whose process dies before, or right after, the answer to some create."""

    def __init__(self, client: DispatchClient, lives: int, answered: bool) -> None:
        self._client = client
        self._lives = lives
        self._answered = answered

    def list(self, *args: Any, **kwargs: Any) -> Any:
        return self._client.list(*args, **kwargs)

    async def create(self, *args: Any, **kwargs: Any) -> Dispatch:
        self._lives -= 1
        if not self._lives and not self._answered:
            raise _KilledError
        dispatch = await self._client.create(*args, **kwargs)
        if not self._lives:
            raise _KilledError
        return dispatch


class _DyingSettings(Settings):
    lives: int
    answered: bool

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        async with super().client() as client:
            yield _DyingClient(client, self.lives, self.answered)


@settings(max_examples=cases(40, long=2000))
@given(st.data())
def test_nothing_is_created_twice_whenever_the_process_dies(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Also if the end of the journal is lost with the machine; equal lines count each."""
    path = tmp_path_factory.mktemp("journal") / "plan.journal"
    block = data.draw(st.integers(1, 6), label="block")
    types = data.draw(st.lists(st.sampled_from("ABC"), min_size=1, max_size=20), label="types")
    before = data.draw(st.lists(st.sampled_from("ABC"), max_size=5), label="before")
    seed = data.draw(st.integers(0, 2**32), label="seed")
    rng = random.Random(seed)
    entries = [
        Entry(line, make_dispatch(type=type_, start_time=LATER))
        for line, type_ in enumerate(types, 1)
    ]
    heading = Heading(1, "", "digest")

    async def main() -> None:
        async with open_test_service() as service:
            for type_ in before:
                await service.client.create(
                    1, type=type_, start_time=LATER, duration=HOUR, target=TargetIds(1)
                )
            for _ in range(100):
                dying = _DyingSettings(microgrid=1, key=service.key, channel=service.channel)
                object.__setattr__(dying, "lives", rng.randint(1, 12))
                object.__setattr__(dying, "answered", rng.random() < 0.6)
                with _SyncedJournal(path, block=block) as journal:
                    try:
                        await import_entries(dying, entries, journal, heading)
                        break
                    except _KilledError:
                        pass
                # What was not on the disk may be lost.
                content = path.read_bytes()
                if rng.random() < 0.5:
                    path.write_bytes(content[: rng.randint(journal.synced, len(content))])
            found = Counter(each.type for each in (await service.dispatches()).values())
            assert found == Counter(types) + Counter(before)

    on_virtual_time(main)


class _SyncedJournal(Journal):
    """A journal that knows how much of it is on the disk."""

    synced = 0

    def sync(self) -> None:
        super().sync()
        self.synced = self.path.stat().st_size


def test_a_line_that_was_being_written_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.begin(Heading(1, "", "digest"))
        journal.add_created(1, 7)
    path.write_bytes(path.read_bytes()[:-4])
    with Journal(path) as journal:
        assert (journal.created, journal.doubtful([1, 2])) == ({}, [1, 2])
        journal.add_created(1, 7)
    with Journal(path) as journal:
        assert (journal.created, journal.doubtful([1, 2])) == ({1: 7}, [2])


def test_only_the_first_block_without_an_outcome_is_in_doubt(tmp_path: Path) -> None:
    lines = range(1, 10)
    with Journal(tmp_path / "journal", block=3) as journal:
        assert journal.doubtful(lines) == []
        journal.begin(Heading(1, "", "digest"))
        journal.add_created(1, 7)
        journal.add_refused(2, "in the past")
        assert journal.doubtful(lines) == [3, 4, 5]
        assert not journal.must_sync
        journal.add_created(3, 8)
        assert journal.must_sync
        journal.begin()
        assert journal.doubtful(lines) == [2, 4, 5], "a new attempt tries again what was refused"
        journal.end()
        assert journal.doubtful(lines) == []


async def test_a_dispatch_is_looked_for_only_if_it_is_in_doubt(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """An equal dispatch that somebody else creates later is not taken for ours."""
    entries = [Entry(line, make_dispatch(start_time=LATER)) for line in range(1, 4)]
    heading = Heading(1, "", "digest")
    async with open_test_service() as service:
        with Journal(tmp_path / "journal") as journal:
            await import_entries(settings_for(service), entries[:2], journal, heading)
        other = await service.client.create(
            1, type="CHARGE", start_time=LATER, duration=HOUR, target=TargetIds(1)
        )
        with Journal(tmp_path / "journal") as journal:
            await import_entries(settings_for(service), entries, journal, heading)
            assert other.id not in journal.created.values()
        assert len(await service.dispatches()) == 4


async def test_what_was_changed_after_an_interruption_is_not_created_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    entries = [Entry(line, make_dispatch(start_time=LATER)) for line in range(1, 10)]
    heading = Heading(1, "", "digest")
    async with open_test_service() as service:
        dying = _DyingSettings(microgrid=1, key=service.key, channel=service.channel)
        object.__setattr__(dying, "lives", 6)
        object.__setattr__(dying, "answered", True)
        with Journal(tmp_path / "journal") as journal, pytest.raises(_KilledError):
            await import_entries(dying, entries, journal, heading)
        await service.client.update(1, 1, payload={"changed": True})
        await service.client.delete(1, 2)
        with Journal(tmp_path / "journal") as journal:
            await import_entries(settings_for(service), entries, journal, heading)
        assert sorted(await service.dispatches()) == [1, *range(3, 10)]


async def test_an_import_that_the_service_interrupts_is_resumed(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [
        Entry(line, make_dispatch(type=f"T{line}", start_time=LATER)) for line in range(1, 30)
    ]
    heading = Heading(1, "", "digest")
    async with open_test_service() as service:
        with Journal(tmp_path / "journal") as journal:
            async with trio.open_nursery() as nursery:

                async def cut() -> None:
                    while len(journal.created) < 10:
                        await trio.lowlevel.checkpoint()
                    await service.stop()

                nursery.start_soon(cut)
                with pytest.raises(Exception, match="UNAVAILABLE"):
                    await import_entries(settings_for(service), entries, journal, heading)
        assert "to resume, give the same command again" in capsys.readouterr().err
        await service.restart()
        with Journal(tmp_path / "journal") as journal:
            await import_entries(settings_for(service), entries, journal, heading)
        types = Counter(each.type for each in (await service.dispatches()).values())
        assert types == {f"T{line}": 1 for line in range(1, 30)}


def test_a_journal_belongs_to_one_process(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "journal"),
        pytest.raises(ValueError, match="in use: the same import is running"),
    ):
        Journal(tmp_path / "journal")
    Journal(tmp_path / "journal").__exit__()


async def test_a_dispatch_without_a_target_is_refused_by_line(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [Entry(7, make_dispatch(start_time=LATER, target=None))]
    async with open_test_service() as service:
        with Journal(tmp_path / "journal") as journal, pytest.raises(Failure):
            await import_entries(settings_for(service), entries, journal, Heading(1, "", ""))
    assert "line 7 was refused: target is required" in capsys.readouterr().err
