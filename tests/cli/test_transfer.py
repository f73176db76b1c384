"""``export``, and ``import --db``: what goes out comes in, as it was."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.commanding import Cli, ServiceThread, on_virtual_time, settings_for
from tests.helpers.effort import cases
from tests.helpers.random_dispatches import dispatches, exactly
from trio_dispatch import Dispatch, TargetIds
from trio_dispatch.cli.app.settings import Settings
from trio_dispatch.cli.commands.transfer import export, import_
from trio_dispatch.service import open_store
from trio_dispatch.service.store.bulk import add_all
from trio_dispatch.service.store.memory import MemoryStore
from trio_dispatch.testing import make_dispatch, open_test_service
from trio_dispatch.text.files import FileFormat

LATER = datetime(2090, 1, 1, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)


# Export, import --db, export.


@settings(max_examples=cases(15, long=1000))
@given(
    st.lists(dispatches(), max_size=12, unique_by=lambda dispatch: dispatch.id),
    st.sampled_from(["jsonl", "csv"]),
)
def test_export_and_import_keep_every_dispatch(
    tmp_path_factory: pytest.TempPathFactory, some: list[Dispatch], format: FileFormat
) -> None:
    directory = tmp_path_factory.mktemp("transfer")
    first, second, db = (directory / name for name in ("first", "second", "new.db"))

    async def main() -> None:
        async with open_test_service() as service:
            for dispatch in some:
                await service.put(dispatch)
            await export(settings_for(service), file=str(first), format=format)
        await import_(Settings(microgrid=1), file=str(first), format=format, db=db, yes=True)
        async with open_test_service(db=db) as service:
            found = await service.dispatches()
            await export(settings_for(service), file=str(second), format=format)
        assert {id_: exactly(each) for id_, each in found.items()} == {
            each.id: exactly(each) for each in some
        }
        # In which order dispatches of the same moment come is up to a store.
        lines = [sorted(path.read_bytes().splitlines()) for path in (first, second)]
        assert lines[0] == lines[1]

    on_virtual_time(main)


def test_export_and_import_by_command(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(*(make_dispatch(id_, payload={"näme": [id_]}) for id_ in range(1, 251)))
    for name in ("all.jsonl", "all.csv"):
        path, db = cli.directory / name, cli.directory / f"{name}.db"
        assert "250 dispatches of microgrid 1" in cli("export", str(path)).stderr
        assert "--yes is required" in cli.fails(2, "import", str(path), "--db", str(db))
        assert not db.exists()
        assert "250 added" in cli("import", str(path), "--db", str(db), "--yes").stderr
        again = cli("import", str(path), "--db", str(db), "--yes")
        assert "0 added" in again.stderr
        assert "250 skipped because their ids exist" in again.stderr
        other = ("import", str(path), "--db", str(db), "--yes", "--microgrid", "2")
        assert "these ids belong to dispatches of other microgrids: 1, 2, 3," in cli.fails(
            1, *other
        )
        assert {path.name for path in cli.directory.glob(".all*")} == set()


def test_export_to_stdout_and_of_a_type(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1), make_dispatch(2, type="HEAT", active=False))
    lines = cli.ok("export").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 2]
    heading, row = cli.ok("export", "--format", "csv", "--type", "HEAT").splitlines()
    assert heading.startswith("id,type,start_time,")
    assert row.startswith("2,HEAT,")
    assert "HEAT" not in cli.ok("export", "--active")


def test_an_export_that_fails_leaves_the_old_file(cli: Cli, service_thread: ServiceThread) -> None:
    path = cli.directory / "plan.jsonl"
    path.write_text("old")
    cli.fails(4, "export", str(path), "--timeout", "0.000001")
    assert path.read_text() == "old"
    assert [*cli.directory.glob("*plan*")] == [path]
    assert "No such file or directory" in cli.fails(1, "export", "/none/plan.jsonl")


def test_an_import_into_a_store_of_a_running_service(cli: Cli) -> None:
    path, db = cli.directory / "plan.jsonl", cli.directory / "used.db"
    cli.ok("create", "A", "-t", "1", "-s", "now", "-d", "1h")
    cli.ok("export", str(path))

    async def main() -> str:
        async with open_store(db):
            arguments = ("import", str(path), "--db", str(db), "--yes")
            return await trio.to_thread.run_sync(cli.fails, 1, *arguments)

    assert "another service has it open" in trio.run(main)


async def test_each_page_is_added_as_a_whole_or_not_at_all(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    plan = [make_dispatch(id_) for id_ in range(1, 26)]
    async with open_store(tmp_path / "x.db") as store:
        bad = copy.copy(plan[14])
        object.__setattr__(bad, "type", "\ud800")  # the constructor refuses it
        broken = [*plan[:14], bad, *plan[15:]]
        with pytest.raises(Exception, match=r".") as caught:
            await add_all(store, 1, broken, page_size=10)
        assert not isinstance(caught.value, AssertionError)
    async with open_test_service(db=tmp_path / "x.db") as service:
        assert {*await service.dispatches()} == {*range(1, 11)}, "the first page only"
        result = await add_all(service.store, 1, plan, page_size=10)
        assert (result.added, result.present) == (15, tuple(range(1, 11)))
        assert {*await service.dispatches()} == {*range(1, 26)}
        assert (await service.client.create(
            1, type="A", start_time="NOW", duration=HOUR, target=TargetIds(1)
        )).id == 26  # fmt: skip


async def test_the_first_of_equal_ids_is_added_and_announced(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_store(None) as store:
        twice = [make_dispatch(1, type="FIRST"), make_dispatch(1, type="SECOND")]
        async with store.watch(1) as watcher:
            assert (await add_all(store, 1, twice)).added == 1
            assert len(watcher) == 1
        assert (await store.get(1, 1)).type == "FIRST"
        await add_all(store, 1, [make_dispatch(id_) for id_ in range(10, 30)])
        assert isinstance(store, MemoryStore)
        assert store.counters.sequence == 21, (
            "each is a change, by which lists are read page by page"
        )
        assert (await add_all(store, 2, twice)).foreign == (1,)
