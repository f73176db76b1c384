"""``demo``: a service and a dispatcher in one process, over TCP."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path

import trio

from ... import clock
from ...client.client import open_client
from ...dispatcher.dispatcher import Dispatcher, open_dispatcher
from ...model.dispatch import Dispatch, RunningState
from ...model.events import Created, LifecycleEvent, Updated
from ...model.formatting import format_duration
from ...model.recurrence.rule import Frequency, RecurrenceRule
from ...model.target import BatteryType, InverterType, TargetCategories, TargetIds
from ...service import Keys, open_service, open_store
from ...text.show import describe_recurrence
from ...timeline import draw_timeline
from ..app.options import option
from ..app.output import paint, use_color, write, write_drawing
from ..serving.addresses import TcpAddress
from ..serving.page import WEB

_MICROGRID = 1
_KEY = "demo-key"
_SECONDS = 20


@option("--web", WEB, "Show a site with simulated devices on a live page, until Ctrl-C.")
async def demo(*, web: TcpAddress | None = None) -> None:
    """Show a dispatcher at work, for 20 seconds.

    A service, a client and a dispatcher run in this process; the client creates, updates and
    deletes dispatches.

    \b
      trio-dispatch demo
      trio-dispatch demo --web 127.0.0.1:8080
    """
    if web is not None:
        from .demo_site import show_site  # noqa: PLC0415

        await show_site(web)
        return
    with tempfile.TemporaryDirectory(prefix="trio-dispatch-") as directory:
        async with (
            open_store(Path(directory) / "demo.db") as store,
            open_service(store, keys=Keys.of(_KEY)) as service,
            trio.open_nursery() as nursery,
        ):
            ((host, port, *_), *_) = await nursery.start(
                partial(service.server.serve_tcp, 0, host="127.0.0.1")
            )
            url = f"grpc://{host}:{port}?ssl=false"
            await write(f"A dispatch service runs on {url}, with a SQLite database.\n")
            await _follow(url)
            service.stop(grace=1)
    await write(
        "The demo is over: the dispatcher is closed, and the service has stopped.\n"
        "To see a site on a live page: trio-dispatch demo --web 127.0.0.1:8080\n"
    )


async def _follow(url: str) -> None:
    async with open_dispatcher(microgrid_id=_MICROGRID, server_url=url, key=_KEY) as dispatcher:
        await write(
            "A dispatcher follows it.  Lifecycle events tell which dispatches exist, status "
            "messages tell actors what to do.  Times are in UTC.\n\n"
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_print_lifecycle, dispatcher)
            nursery.start_soon(_print_status, dispatcher)
            nursery.start_soon(_operate, url)
            await trio.sleep(_SECONDS - 2)
            await _print_timeline(dispatcher)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()


async def _say(who: str, style: str, text: str) -> None:
    color = use_color("auto")
    name = f"{who:<9}"
    await write(f"{clock.now():%H:%M:%S}  {paint(name, style) if color else name}  {text}\n")


async def _operate(url: str) -> None:
    """Do what a person or an optimiser would do at the service."""
    second, minute, hour = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
    say = partial(_say, "client", "dim")
    async with open_client(url, key=_KEY) as client:
        create = partial(client.create, _MICROGRID)
        soon = clock.now().replace(microsecond=0)
        await say("create a charge that starts now and takes 8 seconds")
        charge = await create(
            type="CHARGE",
            start_time="NOW",
            duration=8 * second,
            target=TargetCategories(BatteryType.LI_ION),
            payload={"power_kw": 5},
        )
        await say("create a discharge that starts in 4 seconds")
        discharge = await create(
            type="DISCHARGE",
            start_time=soon + 4 * second,
            duration=hour,
            target=TargetIds(7, 8),
            payload={"power_kw": 3},
        )
        await say("create a heating of 3 seconds in every minute, from 6 seconds on")
        await create(
            type="HEAT",
            start_time=soon + 6 * second,
            duration=3 * second,
            target=TargetIds(20),
            recurrence=RecurrenceRule(Frequency.MINUTELY),
        )
        await say("create a peak shaving of half an hour, every second hour at half past")
        await create(
            type="PEAK_SHAVING",
            start_time=soon + 30 * second,
            duration=30 * minute,
            target=TargetCategories(InverterType.HYBRID),
            recurrence=RecurrenceRule(Frequency.HOURLY, interval=2, byminutes=(30,)),
        )
        await trio.sleep(3)
        await say(f"update the charge #{charge.id} while it runs: more power")
        await client.update(_MICROGRID, charge.id, payload={"power_kw": 7.5})
        await trio.sleep(8)
        await say(f"delete the discharge #{discharge.id} while it runs")
        await client.delete(_MICROGRID, discharge.id)


async def _print_lifecycle(dispatcher: Dispatcher) -> None:
    with dispatcher.lifecycle_events.new_receiver() as events:
        async for event in events:
            await _say("lifecycle", "cyan", _describe_event(event))


async def _print_status(dispatcher: Dispatcher) -> None:
    with dispatcher.running_status_change.new_receiver() as status:
        async for dispatch in status:
            await _say("status", "green", _describe_status(dispatch))


def _describe_event(event: LifecycleEvent) -> str:
    dispatch = event.dispatch
    what = f"{dispatch.type} #{dispatch.id} was {type(event).__name__.lower()}"
    if isinstance(event, Updated):
        return f"{what}: {dispatch.payload}"
    if not isinstance(event, Created):
        return what
    rule = describe_recurrence(dispatch, UTC)
    length = format_duration(dispatch.duration)
    return f"{what}: from {dispatch.start_time:%H:%M:%S} for {length}" + (
        f", {rule}" if rule else ""
    )


def _describe_status(dispatch: Dispatch) -> str:
    name = f"{dispatch.type} #{dispatch.id}"
    if dispatch.running() is not RunningState.RUNNING:
        return f"{name} stops"
    until = "without end" if dispatch.until is None else f"until {dispatch.until:%H:%M:%S}"
    return f"{name} runs on {dispatch.target} {until} {dict(dispatch.payload) or ''}"


async def _print_timeline(dispatcher: Dispatcher) -> None:
    now, hour = clock.now(), timedelta(hours=1)
    picture = draw_timeline(
        dispatcher.dispatches.values(), now - hour / 12, now + 6 * hour, now=now
    )
    width = max(40, min(shutil.get_terminal_size().columns, 100))
    await write_drawing(f"\nThe next hours:\n{picture.text(width, use_color('auto'))}\n\n")
