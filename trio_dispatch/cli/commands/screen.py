"""``watch --screen``: what runs now and what comes next, on the whole terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ...dispatcher.dispatcher import Dispatcher
from ...dispatcher.state import SyncPhase
from ...model.dispatch import Dispatch
from ...model.formatting import format_duration, format_target
from ...text.records import payload_json
from ...text.show import format_name
from ...text.times import format_near
from ..app.settings import Settings
from .events import Event, News, describe_sync, follow, format_line, next_events

_EVENTS = 100
_AT_ONCE = 100
_RUNNING = ("ID", "TYPE", "TARGET", "UNTIL", "LEFT", "PAYLOAD")
_COMING = ("ID", "TYPE", "TARGET", "START", "IN", "FOR", "PAYLOAD")


class Schedule:
    """The runs of many dispatches; each look works out only those that changed or passed."""

    def __init__(self) -> None:
        self._next: dict[int, tuple[Dispatch, datetime | None]] = {}

    async def refresh(self, dispatches: Mapping[int, Dispatch], now: datetime) -> None:
        """Work out what has changed or passed.  A checkpoint now and then."""
        for id_ in self._next.keys() - dispatches.keys():
            del self._next[id_]
        for number, dispatch in enumerate([*dispatches.values()], 1):
            known = self._next.get(dispatch.id)
            if known is None or known[0] is not dispatch or (known[1] and known[1] < now):
                self._next[dispatch.id] = dispatch, dispatch.next_run_after(now)
                if not number % _AT_ONCE:
                    await trio.lowlevel.checkpoint()

    def running(self, now: datetime) -> list[Dispatch]:
        """Return what runs, by its end."""
        runs = [(d.until_at(now), d) for d, _ in self._next.values() if d.running_at(now)]
        endless = datetime.max.replace(tzinfo=now.tzinfo)
        runs.sort(key=lambda run: (run[0] or endless, run[1].id))
        return [dispatch for _, dispatch in runs]

    def coming(self) -> list[tuple[datetime, Dispatch]]:
        """Return what comes next and when, the soonest first."""
        runs = [(run, d) for d, run in self._next.values() if run is not None and d.active]
        return sorted(runs, key=lambda run: (run[0], run[1].id))


async def watch_screen(settings: Settings, type: str | None = None) -> None:
    """Show what runs now and what comes next until cancelled."""
    console = Console(
        highlight=False,
        markup=False,
        emoji=False,
        color_system=None if settings.paint("x", "bold") == "x" else "auto",
    )
    schedule, news = Schedule(), News()
    lines: deque[Text] = deque(maxlen=_EVENTS)
    with Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
        live.update(Text(f"connecting to {settings.url} ..."), refresh=True)
        async with follow(settings, type) as (dispatcher, events):
            batch: list[Event] = []
            while True:
                lines.extend(Text.from_ansi(format_line(settings, e)) for e in batch if news(e))
                known = {
                    id_: d
                    for id_, d in dispatcher.dispatches.items()
                    if type is None or d.type == type
                }
                now = settings.now()
                await schedule.refresh(known, now)
                screen = draw_screen(settings, dispatcher, schedule, lines, now, console)
                live.update(screen, refresh=True)
                batch = []
                with trio.move_on_after(1 - now.microsecond / 1e6 + 0.001):
                    batch = await next_events(events)


def draw_screen(
    settings: Settings,
    dispatcher: Dispatcher,
    schedule: Schedule,
    lines: Iterable[Text],
    now: datetime,
    console: Console,
) -> Group:
    """Return the screen: a heading, what runs, what comes next, and what happened last."""
    running, coming, last = schedule.running(now), schedule.coming(), [*lines]
    # The heading, three titles and the headings of two tables, and the empty lines around them.
    room = max(console.height - 9, 6)
    most_running = min(len(running), max(room // 3, room - len(coming) - len(last)))
    most_last = min(len(last), max(room // 4, 2))
    most_coming = max(room - most_running - most_last, 1)
    parts: list[RenderableType] = [_heading(settings, dispatcher, now), ""]
    parts.append(_title("Runs now", len(running), most_running))
    if running:
        rows = _running_rows(running[:most_running], now, settings.zone)
        parts.append(_table(_RUNNING, rows, "bold green"))
    parts += ["", _title("Next", len(coming), most_coming)]
    if coming:
        rows = _coming_rows(coming[:most_coming], now, settings.zone)
        parts.append(_table(_COMING, rows, "cyan"))
    parts += ["", _title("Last events", most_last, most_last)]
    for text in last[len(last) - most_last :]:
        text.no_wrap, text.overflow = True, "ellipsis"
        parts.append(text)
    return Group(*parts)


def _heading(settings: Settings, dispatcher: Dispatcher, now: datetime) -> Text:
    state = dispatcher.sync_state.value
    style = "green" if state.phase is SyncPhase.LIVE else "bold yellow"
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"microgrid {settings.microgrid_id}", "bold")
    text.append(f"  {now.replace(microsecond=0).astimezone(settings.zone):%Y-%m-%d %H:%M:%S}")
    text.append(f" {settings.zone}  ", "dim")
    return text.append(describe_sync(state, settings.zone), style)


def _title(name: str, number: int, shown: int) -> Text:
    text = Text(name, "bold")
    if not number:
        return text.append("  nothing", "dim")
    return text if number <= shown else text.append(f"  {shown} of {number:,}", "dim")


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]], style: str) -> Table:
    """A table of one line per row; part of the target is enough, the payload takes the rest."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in heading:
        table.add_column(
            name,
            justify="right" if name == "ID" else "left",
            style=style if name == "TYPE" else "dim" if name == "PAYLOAD" else "",
            max_width=24 if name == "TARGET" else None,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _running_rows(running: Iterable[Dispatch], now: datetime, zone: tzinfo) -> Iterator[list[str]]:
    for dispatch in running:
        until = dispatch.until_at(now)
        yield [
            str(dispatch.id),
            format_name(dispatch),
            format_target(dispatch.target),
            "" if until is None else format_near(until, now, zone, seconds=False),
            "forever" if until is None else _length(until - now),
            payload_json(dispatch) if dispatch.payload else "",
        ]


def _coming_rows(
    coming: Iterable[tuple[datetime, Dispatch]], now: datetime, zone: tzinfo
) -> Iterator[list[str]]:
    for run, dispatch in coming:
        yield [
            str(dispatch.id),
            format_name(dispatch),
            format_target(dispatch.target),
            format_near(run, now, zone, seconds=False),
            _length(run - now),
            format_duration(dispatch.duration),
            payload_json(dispatch) if dispatch.payload else "",
        ]


def _length(length: timedelta) -> str:
    """A time to come, in at most two units."""
    seconds = max(0, -(-length // timedelta(seconds=1)))
    if seconds >= 86_400:
        seconds -= seconds % 3600
    elif seconds >= 3600:
        seconds -= seconds % 60
    return format_duration(timedelta(seconds=seconds)) if seconds else "now"
