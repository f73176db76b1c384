"""``watch --screen``: what runs now and what next, on the whole terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo

import trio
from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ..dispatcher.dispatcher import Dispatcher
from ..dispatcher.sync import SyncPhase
from ..model.dispatch import Dispatch
from ._durations import format_duration
from ._records import record_of
from ._settings import Settings
from ._show import dump
from ._targets import format_target
from ._times import format_near
from ._watch import Event, News, TextLine, following, sync_text

__all__ = ["Schedule", "draw_screen", "watch_screen"]

_EVENTS = 100
_AT_ONCE = 100
_RUNNING = ("ID", "TYPE", "TARGET", "UNTIL", "LEFT", "PAYLOAD")
_COMING = ("ID", "TYPE", "TARGET", "START", "IN", "FOR", "PAYLOAD")


class Schedule:
    """What runs and what comes next, of many dispatches, with little to work out each time."""

    def __init__(self) -> None:
        self._next: dict[int, tuple[Dispatch, datetime | None]] = {}

    async def refresh(self, dispatches: Mapping[int, Dispatch], now: datetime) -> None:
        """Work out again what has changed or has passed.  A checkpoint now and then."""
        for id_ in self._next.keys() - dispatches.keys():
            del self._next[id_]
        for number, dispatch in enumerate([*dispatches.values()], 1):
            known = self._next.get(dispatch.id)
            if known is None or known[0] is not dispatch or (known[1] and known[1] < now):
                self._next[dispatch.id] = dispatch, dispatch.next_run_after(now)
                if not number % _AT_ONCE:
                    await trio.lowlevel.checkpoint()

    def running(self, now: datetime) -> list[Dispatch]:
        """What runs, what ends first coming first."""
        runs = [(d.until_at(now), d) for d, _ in self._next.values() if d.running_at(now)]
        endless = datetime.max.replace(tzinfo=now.tzinfo)
        runs.sort(key=lambda run: (run[0] or endless, run[1].id))
        return [dispatch for _, dispatch in runs]

    def coming(self) -> list[tuple[datetime, Dispatch]]:
        """What comes, and when, the soonest first."""
        runs = [(run, d) for d, run in self._next.values() if run is not None and d.active]
        return sorted(runs, key=lambda run: (run[0], run[1].id))


async def watch_screen(settings: Settings, type: str | None = None) -> None:
    """Show what runs now and what next until cancelled."""
    console = settings.console()
    line = TextLine(settings)
    schedule, news = Schedule(), News()
    events: deque[Text] = deque(maxlen=_EVENTS)
    with Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
        live.update(Text(f"waiting for {settings.url} ..."), refresh=True)
        async with following(settings, type) as (dispatcher, waiting):
            while True:
                happened: Iterable[Event] = waiting.take()
                events.extend(Text.from_ansi(line(event)) for event in happened if news(event))
                known = {
                    id_: d
                    for id_, d in dispatcher.dispatches.items()
                    if type is None or d.type == type
                }
                now = settings.now()
                await schedule.refresh(known, now)
                screen = draw_screen(settings, dispatcher, schedule, events, now, console)
                live.update(screen, refresh=True)
                with trio.move_on_after(1 - now.microsecond / 1e6 + 0.001):
                    await waiting.wanted.wait()


def draw_screen(
    settings: Settings,
    dispatcher: Dispatcher,
    schedule: Schedule,
    events: Iterable[Text],
    now: datetime,
    console: Console,
) -> Group:
    """The screen: a heading, what runs, what comes next, what happened last."""
    zone = settings.zone
    running, coming = schedule.running(now), schedule.coming()
    # The heading, three titles and two headings of tables, and the space around them.
    room = max(console.height - 9, 6)
    last = [*events]
    most_running = min(len(running), max(room // 3, room - len(coming) - len(last)))
    most_last = min(len(last), max(room // 4, 2))
    most_coming = max(room - most_running - most_last, 1)
    parts: list[Text] = [_heading(settings, dispatcher, now), Text()]
    parts.append(_title("Runs now", len(running), most_running))
    if running:
        rows = [*_running_rows(running[:most_running], now, zone)]
        parts += _lines(_RUNNING, rows, "bold green")
    parts += [Text(), _title("Next", len(coming), most_coming)]
    if coming:
        rows = [*_coming_rows(coming[:most_coming], now, zone)]
        parts += _lines(_COMING, rows, "cyan")
    parts += [Text(), _title("Happened", most_last, most_last)]
    for text in last[len(last) - most_last :]:
        text.no_wrap, text.overflow = True, "ellipsis"
        parts.append(text)
    return Group(*parts)


def _heading(settings: Settings, dispatcher: Dispatcher, now: datetime) -> Text:
    state = dispatcher.sync_state.value
    style = "green" if state.phase is SyncPhase.LIVE else "bold yellow"
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"microgrid {settings.microgrid}", "bold")
    text.append(f"  {now.replace(microsecond=0).astimezone(settings.zone):%Y-%m-%d %H:%M:%S}")
    text.append(f" {settings.zone}  ", "dim")
    return text.append(sync_text(state, settings.zone), style)


def _title(name: str, number: int, shown: int) -> Text:
    text = Text(name, "bold")
    if not number:
        return text.append("  nothing", "dim")
    return text if number <= shown else text.append(f"  {shown} of {number:,}", "dim")


def _lines(heading: Sequence[str], rows: Sequence[Sequence[str]], style: str) -> Iterator[Text]:
    """Rows in columns; of the target a part is enough, and the payload takes what is left."""
    rows = [[_cut(cell, 24) if i == 2 else cell for i, cell in enumerate(row)] for row in rows]
    columns = [*zip(heading, *rows, strict=True)]
    widths = [max(map(cell_len, column)) for column in columns]
    for number, row in enumerate([heading, *rows]):
        text = Text(no_wrap=True, overflow="ellipsis", style="" if number else "dim")
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            padding = " " * (width - cell_len(cell))
            padded = padding + cell if i == 0 else cell + padding
            last = i == len(row) - 1
            text.append(padded, style if i == 1 and number else "dim" if last else "")
            text.append("" if last else "  ")
        text.rstrip()
        yield text


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _running_rows(running: Iterable[Dispatch], now: datetime, zone: tzinfo) -> Iterator[list[str]]:
    for dispatch in running:
        until = dispatch.until_at(now)
        yield [
            str(dispatch.id),
            _name(dispatch),
            format_target(dispatch.target),
            "" if until is None else format_near(until, now, zone, seconds=False),
            "forever" if until is None else _span(until - now),
            _payload(dispatch),
        ]


def _coming_rows(
    coming: Iterable[tuple[datetime, Dispatch]], now: datetime, zone: tzinfo
) -> Iterator[list[str]]:
    for run, dispatch in coming:
        yield [
            str(dispatch.id),
            _name(dispatch),
            format_target(dispatch.target),
            format_near(run, now, zone, seconds=False),
            _span(run - now),
            format_duration(dispatch.duration),
            _payload(dispatch),
        ]


def _name(dispatch: Dispatch) -> str:
    return f"{dispatch.type} (dry run)" if dispatch.dry_run else dispatch.type


def _payload(dispatch: Dispatch) -> str:
    return dump(record_of(dispatch)["payload"]) if dispatch.payload else ""


def _span(span: timedelta) -> str:
    """A time to come, in no more than two units."""
    seconds = max(0, -(-span // timedelta(seconds=1)))
    if seconds >= 86_400:
        seconds -= seconds % 3600
    elif seconds >= 3600:
        seconds -= seconds % 60
    return format_duration(timedelta(seconds=seconds)) if seconds else "now"
