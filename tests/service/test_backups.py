"""Scheduled backups: when they are made, how many are kept, and that one can be restored."""

# ruff: noqa: ASYNC240 - small folders

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.service import create, listed, wired
from trio_dispatch import clock
from trio_dispatch.service import Store, StoreError, open_store
from trio_dispatch.service.backups import BackupSchedule, BackupStatistics, keep_backups

HOUR = timedelta(hours=1)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def schedule(folder: Path, keep: int = 3) -> BackupSchedule:
    made = BackupSchedule(folder / "backups", every=HOUR, keep=keep)
    made.prepare()
    return made


async def keeping(
    store: Store, made: BackupSchedule, seconds: float, statistics: BackupStatistics | None = None
) -> BackupStatistics:
    """Keep backups for some time."""
    counted = BackupStatistics() if statistics is None else statistics
    with trio.move_on_after(seconds):
        await keep_backups(store, made, counted)
    return counted


async def test_backup_is_made_at_intervals_and_the_latest_are_kept(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    made = schedule(tmp_path)
    other = made.directory / "dispatches-of-somebody.db"
    other.touch()
    async with open_store(tmp_path / "x.db") as store:
        began = clock.now()
        statistics = await keeping(store, made, 1800)
        assert len(names(made.directory)) == 2
        # A service that is restarted goes on where it was.
        await keeping(store, made, 600)
        assert len(names(made.directory)) == 2
        await keeping(store, made, 4 * 3600)
    expected = [began + number * HOUR for number in (2, 3, 4)]
    assert names(made.directory) == [
        *(f"dispatches-{moment:%Y%m%dT%H%M%SZ}.db" for moment in expected),
        other.name,
    ]
    assert statistics.last is not None
    assert abs(statistics.last - began) < timedelta(seconds=1)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in made.directory.glob("*Z.db")}
    assert modes == {0o600}
    assert stat.S_IMODE(made.directory.stat().st_mode) == 0o700


async def test_backup_is_restored(autojump_clock: MockClock, tmp_path: Path) -> None:
    made = schedule(tmp_path)
    db = tmp_path / "x.db"
    async with open_store(db) as store, wired(store) as service, service.client() as client:
        kept = [(await create(client)).id for _ in range(3)]
        await keeping(store, made, 60)
        await create(client)
    for path in tmp_path.glob("x.db*"):
        path.unlink()
    [backup] = made.directory.iterdir()
    db.write_bytes(backup.read_bytes())
    async with open_store(db) as store, wired(store) as service, service.client() as client:
        assert sorted(await listed(client)) == kept
        again = await create(client)
        assert again.id == kept[-1] + 1
        changes = [c async for page in client.list_changes(1) for c in page]
        assert len(changes) == 4


async def test_backup_that_fails_is_tried_again_and_keeps_the_old_ones(
    autojump_clock: MockClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(path: object) -> None:
        raise StoreError(f"{path} cannot be written: the disk is full")

    made = schedule(tmp_path, keep=1)
    async with open_store(tmp_path / "x.db") as store:
        await keeping(store, made, 60)
        before = names(made.directory)
        with monkeypatch.context() as patch:
            patch.setattr(store, "backup", fail)
            statistics = await keeping(store, made, 3600 + 400)
        assert names(made.directory) == before
        assert statistics.failed == 2
        assert "no backup could be made" in caplog.text
        await keeping(store, made, 60)
        assert len(names(made.directory)) == 1
        assert names(made.directory) != before


@pytest.mark.parametrize(
    ("every", "keep", "message"),
    [(timedelta(), 1, "every 0:00:00 is not above 0"), (HOUR, 0, "keep 0 is below 1")],
)
def test_invalid_schedule(every: timedelta, keep: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BackupSchedule(Path(), every=every, keep=keep)
