"""``runs``: what dispatchers and actors have reported."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import click
import trio

from ...client.client import DispatchClient
from ...client.errors import ServiceError
from ...client.evidence import RunFilter, latest_runs
from ...concurrency.backoff import Backoff
from ...model.explanation import acted
from ...model.runs import ReportedRun, ReportedState
from ...model.undecodable import Undecodable
from ...text.runs import format_run, format_runs, run_record
from ...text.safe import dump_json
from ..app import output
from ..app.options import option, shared_options
from ..app.params import IDS, MOMENT, NUMBER, TEXT, TYPE
from ..app.run import explain
from ..app.settings import Settings
from ..app.streams import tell

_STATES = {state.name.lower(): state for state in ReportedState}

ANNOUNCEMENT_DELAY = 1.0
"""For this number of seconds the report of an actor is waited for, which says more."""

_REMEMBERED = 10_000
"""This many printed runs are not printed again after a reconnect, if they are the same."""

_Put = Callable[[str], Awaitable[None]]


@shared_options
@click.argument("ids", metavar="[ID]...", nargs=-1, type=IDS)
@option("--type types", TYPE, "Only runs of this type; may be repeated.", multiple=True)
@option(
    "--state states",
    click.Choice([*_STATES]),
    "Only runs in this state; may be repeated.",
    multiple=True,
)
@option("--component components", IDS, "Only runs of actors for these components: 1,2,5-9.")
@option(
    "--dispatcher dispatchers",
    TEXT,
    "Only runs of this dispatcher; may be repeated.",
    multiple=True,
)
@option("--from start_from", MOMENT, "Only runs that were due at this time or later.")
@option("--to start_to", MOMENT, "Only runs that were due before this time.")
@option("--limit", NUMBER, "Show at most this many runs, the latest.", default="100")
@option("--follow -f", None, "Continue: print a line for each run that changes.")
async def runs(
    settings: Settings,
    *,
    ids: Sequence[Sequence[int]] = (),
    types: Sequence[str] = (),
    states: Sequence[str] = (),
    components: Sequence[int] | None = None,
    dispatchers: Sequence[str] = (),
    start_from: datetime | None = None,
    start_to: datetime | None = None,
    limit: int = 100,
    follow: bool = False,
    write: _Put | None = None,
) -> None:
    """Show the runs that dispatchers have reported.

    The output has one line for each actor in each run.  A run that no actor has reported has a line
    for its announcement.  With --json all reported runs are printed, and announcements too.

    \b
      trio-dispatch runs --state failed --from yesterday
      trio-dispatch runs 5 --follow
    """
    wanted = RunFilter(
        ids=[id_ for some in ids for id_ in some],
        types=types,
        states=[_STATES[state] for state in states],
        components=components or (),
        dispatchers=dispatchers,
        start_from=start_from,
        start_to=start_to,
    )
    put = write or output.write
    async with settings.client() as client:
        if follow:
            async with trio.open_nursery() as nursery:
                if write is None:
                    nursery.start_soon(output.end_with_reader)
                await Follower(settings, client, wanted, put).run(limit)
        found = await latest_runs(client, settings.microgrid_id, wanted, limit)
        if settings.json:
            await put("".join(f"{dump_json(run_record(run))}\n" for run in found))
            return
        found = await _without_announcements(client, settings.microgrid_id, wanted, found)
        if found:
            text = format_runs(found, settings.now(), settings.zone, settings.paint)
            await output.write_drawing(f"{text}\n")
        tell(
            f"{len(found):,} {'run' if len(found) == 1 else 'runs'} in microgrid "
            f"{settings.microgrid_id}; times in {settings.zone}"
        )


async def _without_announcements(
    client: DispatchClient, microgrid_id: int, wanted: RunFilter, found: list[ReportedRun]
) -> list[ReportedRun]:
    """Leave out the announcements of runs that actors have reported.

    If the filter hides some of what actors reported, that is asked for.
    """
    announced = [run for run in found if not run.actor]
    if not announced or not wanted.states:
        return acted(found)
    times = [run.start_time for run in announced]
    same = RunFilter(
        ids=sorted({run.dispatch_id for run in announced})[:100],
        start_from=min(times),
        start_to=max(times) + timedelta(seconds=1),
    )
    known = await latest_runs(client, microgrid_id, same, 10_000)
    kept = {*map(_identity, acted([*found, *(run for run in known if run.actor)]))}
    return [run for run in found if _identity(run) in kept]


def _identity(run: ReportedRun) -> tuple[str, int, datetime, str, int | None]:
    return run.dispatcher, run.dispatch_id, run.start_time, run.actor, run.component


class Follower:
    """Prints runs as they change; connects again when the stream fails."""

    def __init__(
        self, settings: Settings, client: DispatchClient, wanted: RunFilter, put: _Put
    ) -> None:
        self._settings = settings
        self._client = client
        self._wanted = wanted
        self._put = put
        self._shown: dict[tuple[str, int, datetime, str, int | None], ReportedRun] = {}
        # The occurrences that actors have reported, in that order.
        self._acted: dict[tuple[str, int, datetime], None] = {}

    async def run(self, limit: int) -> None:
        """Print the latest runs, then what changes, for ever."""
        backoff = Backoff()
        while True:
            began = trio.current_time()
            try:
                await self._follow(limit)
                reason = "the service has ended the stream"
            except ServiceError as exc:
                if exc.permanent:
                    raise
                reason = explain(exc)
            delay = backoff.delay(trio.current_time() - began)
            tell(f"disconnected: {reason}; trying again in {delay:.0f} s")
            await trio.sleep(delay)

    async def _follow(self, limit: int) -> None:
        failures: list[ServiceError] = []
        async with trio.open_nursery() as nursery:

            async def stream() -> None:
                microgrid_id = self._settings.microgrid_id
                async with self._client.stream_runs(microgrid_id) as runs:
                    # The first message may be long in coming.
                    nursery.start_soon(attempt, self._show_latest, runs.started, limit)
                    async for run in runs:
                        if isinstance(run, Undecodable) or not self._wanted.passes(run):
                            continue
                        if run.actor or self._settings.json:
                            self._note_acted(run)
                            await self._print(run)
                        else:
                            nursery.start_soon(self._print_later, run)
                nursery.cancel_scope.cancel()

            async def attempt(function: Callable[..., Awaitable[None]], *args: object) -> None:
                try:
                    await function(*args)
                except ServiceError as exc:
                    failures.append(exc)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(attempt, stream)
        if failures:
            raise failures[0]

    async def _show_latest(self, started: trio.Event, limit: int) -> None:
        await started.wait()
        microgrid_id = self._settings.microgrid_id
        found = await latest_runs(self._client, microgrid_id, self._wanted, limit)
        if not self._settings.json:
            found = await _without_announcements(self._client, microgrid_id, self._wanted, found)
        for run in reversed(found):
            await self._print(run)

    def _note_acted(self, run: ReportedRun) -> None:
        self._acted[run.dispatcher, run.dispatch_id, run.start_time] = None
        if len(self._acted) > _REMEMBERED:
            del self._acted[next(iter(self._acted))]

    async def _print_later(self, run: ReportedRun) -> None:
        """Print an announcement unless an actor reports the same run."""
        await trio.sleep(ANNOUNCEMENT_DELAY)
        if (run.dispatcher, run.dispatch_id, run.start_time) not in self._acted:
            await self._print(run)

    async def _print(self, run: ReportedRun) -> None:
        """Print a run unless it was printed as it is."""
        if self._shown.get(_identity(run)) == run:
            return
        self._shown[_identity(run)] = run
        if len(self._shown) > _REMEMBERED:
            del self._shown[next(iter(self._shown))]
        settings = self._settings
        if settings.json:
            text = dump_json(run_record(run))
        else:
            text = format_run(run, settings.now(), settings.zone, settings.paint)
        await self._put(f"{text}\n")
