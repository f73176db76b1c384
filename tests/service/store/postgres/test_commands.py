"""The commands that use a database in PostgreSQL."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
import trio

from tests.helpers.service import NOW, data
from trio_dispatch.service import open_store
from trio_dispatch.service.store.logs import ChangeFilter, LogQuery


async def run(*args: str) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name("trio-dispatch")), *args]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


async def test_migrate_and_purge(tmp_path: Path, database: str) -> None:
    file = tmp_path / "dispatches.db"
    async with open_store(file) as store:
        for number in range(3):
            await store.create(1, data(), now=NOW + number)
    assert await run("migrate", str(file), database) == (
        0,
        "moved 3 dispatches, 3 changes and 0 runs\n",
    )
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE changes SET time = 0 WHERE sequence = 1")
    assert await run("purge", "--db", database, "--older-than", "10000d") == (
        0,
        "removed 0 runs and 1 changes\n",
    )
    async with open_store(database) as store:
        page = await store.list_changes(LogQuery(1, ChangeFilter()))
    assert len(page.messages) == 2


async def test_backup_names_the_tools_of_postgresql(tmp_path: Path) -> None:
    status, text = await run("backup", "--db", "postgresql://h/x", str(tmp_path / "copy"))
    assert status == 2
    assert "pg_dump" in text
