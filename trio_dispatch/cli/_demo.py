"""``trio-dispatch demo``: a service and a dispatcher in one process, over TCP, for 20 seconds."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import click
import trio
from rich.console import Console
from rich.text import Text

from .. import clock
from ..client.client import open_client
from ..dispatcher.dispatcher import Dispatcher, open_dispatcher
from ..model.dispatch import Dispatch, RunningState
from ..model.events import Created, Deleted, LifecycleEvent
from ..model.recurrence.description import describe_rule
from ..model.recurrence.rule import Frequency, RecurrenceRule
from ..model.target import BatteryType, InverterType, TargetCategories, TargetIds
from ..service import Keys, open_service, open_store
from ..timeline import draw_timeline
from ._run import run

__all__ = ["demo_command", "run_demo"]

_MICROGRID = 1
_KEY = "demo-key"
_SECONDS = 20


@click.command("demo")
def demo_command() -> None:
    """Watch dispatches being created, started and stopped, for 20 seconds."""
    run(run_demo)


async def run_demo() -> None:
    """Show what a dispatcher tells while a client creates, updates and deletes dispatches."""
    console = Console(highlight=False, soft_wrap=True)
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
            console.print(f"A dispatch service runs on [bold]{url}[/], with SQLite behind it.")
            await _watch(console, url)
            service.stop(grace=1)
    console.print("The demo is over: the dispatcher is closed, and the service has ended.")


async def _watch(console: Console, url: str) -> None:
    async with open_dispatcher(microgrid_id=_MICROGRID, server_url=url, key=_KEY) as dispatcher:
        console.print(
            "A dispatcher follows it.  [cyan]Lifecycle[/] events say what exists, "
            "[green]status[/] changes what an actor has to do.  Times are UTC.\n"
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_print_lifecycle, console, dispatcher)
            nursery.start_soon(_print_status, console, dispatcher)
            nursery.start_soon(_operate, console, url)
            await trio.sleep(_SECONDS - 2)
            _print_timeline(console, dispatcher)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()


async def _operate(console: Console, url: str) -> None:
    """What a person, or an optimiser, would do at the service."""

    def say(text: str) -> None:
        console.print(f"{_clock()}  [dim]client[/]     [italic]{text}[/]")

    second, minute, hour = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
    rules = {
        "heat": RecurrenceRule(Frequency.MINUTELY),
        "peak": RecurrenceRule(Frequency.HOURLY, interval=2, byminutes=(30,)),
    }
    async with open_client(url, key=_KEY) as client:
        create = partial(client.create, _MICROGRID)
        soon = clock.now().replace(microsecond=0)
        say("create a charge that starts now and takes 8 seconds")
        charge = await create(
            type="CHARGE",
            start_time="NOW",
            duration=8 * second,
            target=TargetCategories(BatteryType.LI_ION),
            payload={"power_kw": 5},
        )
        say("create a discharge that starts in 4 seconds")
        discharge = await create(
            type="DISCHARGE",
            start_time=soon + 4 * second,
            duration=hour,
            target=TargetIds(7, 8),
            payload={"power_kw": 3},
        )
        say("create something that heats for 3 seconds of every minute, from 6 seconds on")
        await create(
            type="HEAT",
            start_time=soon + 6 * second,
            duration=3 * second,
            target=TargetIds(20),
            recurrence=rules["heat"],
        )
        say("create a peak shaving for half an hour, every second hour at half past")
        await create(
            type="PEAK_SHAVING",
            start_time=soon + 30 * second,
            duration=30 * minute,
            target=TargetCategories(InverterType.HYBRID),
            recurrence=rules["peak"],
        )
        await trio.sleep(3)
        say(f"update the charge #{charge.id} while it runs: more power")
        await client.update(_MICROGRID, charge.id, payload={"power_kw": 7.5})
        await trio.sleep(8)
        say(f"delete the discharge #{discharge.id} while it runs")
        await client.delete(_MICROGRID, discharge.id)


async def _print_lifecycle(console: Console, dispatcher: Dispatcher) -> None:
    with dispatcher.lifecycle_events.new_receiver() as events:
        async for event in events:
            console.print(f"{_clock()}  [cyan]lifecycle[/]  {_event_text(event)}")


async def _print_status(console: Console, dispatcher: Dispatcher) -> None:
    with dispatcher.running_status_change.new_receiver() as status:
        async for dispatch in status:
            console.print(f"{_clock()}  [green]status[/]     {_status_text(dispatch)}")


def _event_text(event: LifecycleEvent) -> str:
    name = f"{event.dispatch.type} #{event.dispatch.id}"
    match event:
        case Created(dispatch):
            length = "without end" if dispatch.duration is None else f"for {dispatch.duration}"
            rule = describe_rule(dispatch.effective_recurrence, dispatch.start_time, _time)
            again = f", {rule}" if rule else ""
            return f"{name} was created: from {_time(dispatch.start_time)} {length}{again}"
        case Deleted():
            return f"{name} was deleted"
    return f"{name} was updated: {event.dispatch.payload}"


def _status_text(dispatch: Dispatch) -> str:
    name = f"[bold]{dispatch.type} #{dispatch.id}[/]"
    if dispatch.running() is RunningState.RUNNING:
        until = "without end" if dispatch.until is None else f"until {_time(dispatch.until)}"
        what = dict(dispatch.payload) or ""
        return f"▶ {name} runs on {dispatch.target} {until} {what}"
    return f"■ {name} stops"


def _print_timeline(console: Console, dispatcher: Dispatcher) -> None:
    now = clock.now()
    console.print("\nThe next hours:")
    picture = draw_timeline(
        dispatcher.dispatches.values(),
        now - timedelta(minutes=5),
        now + timedelta(hours=6),
        now=now,
    )
    console.print(Text.from_ansi(picture.text(max(40, min(console.width, 100)), color=True)))
    console.print()


def _clock() -> str:
    return f"[dim]{_time(clock.now())}[/]"


def _time(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"
