"""``watch``: what happens, as it happens."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

import click
import trio

from ..app import output
from ..app.options import option, shared_options
from ..app.params import TYPE
from ..app.settings import Settings
from .events import News, follow, format_json_line, format_line, next_events
from .read import count_dispatches


@shared_options
@option("--type", TYPE, "Only dispatches of this type.")
@option("--screen", None, "Show on the whole terminal what runs and comes next.")
async def watch(
    settings: Settings,
    *,
    type: str | None = None,
    screen: bool = False,
    write: Callable[[str], Awaitable[None]] | None = None,
) -> None:
    """Follow dispatches as they change, start and stop.

    A line is printed for each event.  The output begins with what runs now; with --json, with all
    dispatches.  If the connection is lost, the schedule goes on with what was last known.  Ctrl-C
    ends it.
    """
    if screen:
        if settings.json:
            raise click.UsageError("--screen and --json exclude each other")
        if not sys.stdout.isatty():
            raise click.UsageError("--screen requires a terminal")
        from .screen import watch_screen  # noqa: PLC0415

        await watch_screen(settings, type)
        return
    put = write or output.write
    async with follow(settings, type) as (dispatcher, events), trio.open_nursery() as nursery:
        if write is None:
            nursery.start_soon(output.end_with_reader)
        news = News()
        if not settings.json:
            count = count_dispatches(len(dispatcher.dispatches))
            await put(f"following microgrid {settings.microgrid_id}, which has {count}\n")
        while True:
            batch = await next_events(events)
            if settings.json:
                lines = [format_json_line(event) for event in batch]
            else:
                lines = [format_line(settings, event) for event in batch if news(event)]
            if lines:
                await put("".join(f"{line}\n" for line in lines))
