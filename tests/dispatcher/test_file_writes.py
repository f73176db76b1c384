"""Writes that were abandoned do not undo later ones."""

from __future__ import annotations

import threading

import trio
import trio.testing

from trio_dispatch.dispatcher.file_writes import FileWrites


class Disk:
    """A file, on a disk that can hang."""

    def __init__(self) -> None:
        self.content: list[str] = []
        self.works = threading.Event()
        self.has_begun = threading.Event()

    def write(self, content: str) -> str:
        self.has_begun.set()
        self.works.wait(10)
        self.content.append(content)
        return content


async def abandon(writes: FileWrites, disk: Disk, content: str) -> None:
    """Begin a write, and abandon it while the disk hangs."""
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            await writes.run(lambda: disk.write(content), abandon_on_cancel=True)

        await trio.to_thread.run_sync(disk.has_begun.wait, 10)
        nursery.cancel_scope.cancel()


async def test_a_write_waits_for_an_abandoned_one() -> None:
    writes, disk = FileWrites(), Disk()
    await abandon(writes, disk, "old")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            assert await writes.run(lambda: disk.write("new"), abandon_on_cancel=False) == "new"

        await trio.testing.wait_all_tasks_blocked()
        assert disk.content == []
        disk.works.set()
    assert disk.content == ["old", "new"]


async def test_a_write_that_is_abandoned_before_it_begins_does_nothing() -> None:
    writes, disk = FileWrites(), Disk()
    await abandon(writes, disk, "first")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                await writes.run(lambda: disk.write("second"), abandon_on_cancel=True)

            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    disk.works.set()
    await writes.run(lambda: disk.write("third"), abandon_on_cancel=True)
    assert disk.content == ["first", "third"]
