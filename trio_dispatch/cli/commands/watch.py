"""``watch``: what happens, as it happens."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import click
import trio

from ..app import output
from ..app.options import option, shared_options
from ..app.params import FILE, TYPE
from ..app.settings import Settings
from ..serving.addresses import TcpAddress
from ..serving.page import PageOptions, page_options, serve_page_of
from .events import News, follow, format_json_line, format_line, next_events
from .read import count_dispatches


@shared_options
@option("--type", TYPE, "Only dispatches of this type.")
@option("--screen", None, "Use the whole terminal to show what runs now and what comes next.")
@page_options
@option("--tls-cert", FILE, "Serve the page over TLS, with this certificate and its chain, in PEM.")
@option("--tls-key", FILE, "The private key of the certificate, without a password.")
async def watch(
    settings: Settings,
    *,
    type: str | None = None,
    screen: bool = False,
    web: TcpAddress | None = None,
    web_hosts: Sequence[str] = (),
    components_file: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    write: Callable[[str], Awaitable[None]] | None = None,
) -> None:
    """Follow dispatches as they change, start and stop.

    A line is printed for each event.  The output begins with what runs now; with --json, with all
    dispatches.  If the connection is lost, the schedule continues with the last known dispatches.
    Ctrl-C ends the command.

    With --web, the command serves a live page instead, on which people log in with their own API
    keys.
    """
    try:
        page = PageOptions.read(web, web_hosts, components_file)
        if page is not None:
            from ..serving.keys import TlsFiles, load_context  # noqa: PLC0415

            if screen or settings.json or type is not None:
                raise click.UsageError("--web excludes --screen, --json and --type")
            context = load_context(TlsFiles(tls_cert, tls_key, None))
            await serve_page_of(page, settings, context)
            return
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
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
