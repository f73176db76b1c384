"""A process of a soak in real time: some dispatchers, which write down what they see.

Each line of the notes is written at once, so that it survives the process.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import trio

import trio_dispatch
from tests.helpers.witness import Key, watch_statuses
from tests.soak.site import act
from trio_dispatch import ActorRun, Dispatch, clock, open_dispatcher


@dataclass
class WrittenNotes:
    """Writes down what one dispatcher sees."""

    write: Callable[[dict[str, Any]], None]
    site: str

    def begin(self, process: int, key: Key, now: datetime) -> None:
        """See `Notes`."""
        self._write("begin", key, now)

    def end(
        self, process: int, key: Key, now: datetime, until: datetime | None, how: str = ""
    ) -> None:
        """See `Notes`."""
        self._write("end", key, now, until=None if until is None else until.isoformat(), how=how)

    def opened(self, now: datetime) -> None:
        """Note that the dispatcher has been opened."""
        self.write({"what": "opened", "site": self.site, "now": now.isoformat()})

    def switch(self, what: str, dispatch_id: int) -> None:
        """Note that a battery is switched."""
        self.write({"what": what, "site": self.site, "id": dispatch_id})

    def _write(self, what: str, key: Key, now: datetime, **fields: str | None) -> None:
        id_, start, is_actor = key
        self.write(
            {
                "what": what,
                "site": self.site,
                "id": id_,
                "start": start.isoformat(),
                "actor": is_actor,
                "now": now.isoformat(),
                **fields,
            }
        )


async def run_site(
    notes: WrittenNotes, rng: random.Random, url: str, key: str, microgrid_id: int, folder: Path
) -> None:
    """Run a dispatcher with its actors, until cancelled."""

    async def drive(run: ActorRun) -> None:
        id_ = run.dispatch.id
        notes.switch("on", id_)
        try:
            await act(notes, 0, rng, run)
        finally:
            with run.cleanup():
                await trio.sleep(0.01)
            notes.switch("off", id_)

    async def stop_orphan(dispatch: Dispatch) -> None:
        await trio.lowlevel.checkpoint()
        notes.switch("orphan", dispatch.id)

    await trio.Path(folder).mkdir(exist_ok=True)
    async with (
        open_dispatcher(
            microgrid_id, server_url=url, key=key, cache=folder / "cache", name=notes.site
        ) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(watch_statuses, notes, 0, dispatcher)
        await nursery.start(partial(dispatcher.run_actors, "CHARGE", drive, on_orphan=stop_orphan))
        notes.opened(clock.now())


async def run_sites(options: argparse.Namespace) -> None:
    """Run the dispatchers that the options name, until cancelled."""
    # Appended to: a process after a restart goes on in the same file.
    file = os.open(options.notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(note: dict[str, Any]) -> None:
        os.write(file, json.dumps(note).encode() + b"\n")

    async with trio.open_nursery() as nursery:
        for site in options.site:
            name, _, microgrid_id = site.partition("=")
            nursery.start_soon(
                run_site,
                WrittenNotes(write, name),
                random.Random(),
                options.url,
                options.key,
                int(microgrid_id),
                options.folder / name,
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("site", nargs="+", help="NAME=MICROGRID")
    logging.basicConfig(level=logging.ERROR, format="%(asctime)s %(name)s: %(message)s")
    trio_dispatch.run(run_sites, parser.parse_args())


if __name__ == "__main__":
    main()
