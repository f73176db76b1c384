"""What a dispatcher writes can be read by its owner only."""

# ruff: noqa: ASYNC240 - small folders

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path

import trio
import trio.testing

from tests.helpers.acting import lasting
from tests.helpers.dispatching import dispatching
from trio_dispatch import ActorRun
from trio_dispatch.dispatcher.journal import Journal
from trio_dispatch.dispatcher.private_files import open_private
from trio_dispatch.testing import make_dispatch, open_test_service


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_cache_and_reports_are_private(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async def act(run: ActorRun) -> None:
        await trio.sleep_forever()

    seen: dict[str, set[int]] = {}

    async def look() -> None:
        while True:
            for path in tmp_path.iterdir():
                seen.setdefault(path.name, set()).add(_mode(path))
            await trio.sleep(1)

    before = os.umask(0)
    try:
        async with open_test_service() as service, trio.open_nursery() as nursery:
            nursery.start_soon(look)
            async with dispatching(service, name="a", cache=tmp_path / "cache") as dispatcher:
                nursery.start_soon(dispatcher.run_actors, "CHARGE", act)
                for id_ in range(1, 5):
                    await service.put(lasting(id_, 10 * id_, 15))
                await trio.sleep(timedelta(minutes=2).total_seconds())
            nursery.cancel_scope.cancel()
    finally:
        os.umask(before)
    assert {"cache", "cache.reports"} <= seen.keys()
    assert set.union(*seen.values()) == {0o600}


def test_journal_of_a_cache_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        journal = Journal(tmp_path / "cache")
        for sequence in (1, 2):
            journal.append(sequence, [make_dispatch(1)])
            assert [_mode(path) for path in tmp_path.iterdir()] == [0o600]
        journal.trim(1)
        assert [_mode(path) for path in tmp_path.iterdir()] == [0o600]
    finally:
        os.umask(before)


def test_existing_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(mode=0o640)
    mode = _mode(path)
    with open_private(path, "ab") as file:
        file.write(b"x")
    assert _mode(path) == mode
