"""``demo --web``: a small site with simulated devices, which the live page shows."""

# ruff: noqa: S311 - chance, not secrets

from __future__ import annotations

import logging
import random
import socket
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from ... import clock
from ...actors.merge import MergeByComponent
from ...actors.run import ActorRun
from ...client.client import DispatchClient
from ...dispatcher.dispatcher import open_dispatcher
from ...grpc import Channel, open_channel
from ...model.dispatch import Dispatch
from ...model.recurrence.rule import Frequency, RecurrenceRule, Weekday
from ...model.target import (
    BatteryType,
    ComponentType,
    ElectricalComponentCategory,
    EvChargerType,
    InverterType,
    TargetCategories,
    TargetCategory,
    TargetIds,
    category_of,
)
from ...process import wait_stopping
from ...service import DispatchService, Key, Keys, Right, open_service, open_store
from ..app.output import write
from ..serving.addresses import TcpAddress
from ..serving.page import PageOptions, serve_own_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_MICROGRID = 1
_PROBE = timedelta(seconds=10)
_STEP = 5.0
"""The seconds between two reports of a device."""

_FAILURES = 0.3
"""The probability that a charger does not answer."""

_SECOND, _MINUTE, _HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def _category(kind: ComponentType) -> TargetCategory:
    return TargetCategory(category_of(kind), kind)


_KEYS = Keys(
    [
        Key("demo", name="operator"),
        Key("demo-viewer", name="viewer", rights=frozenset({Right.READ})),
        Key("demo-optimiser", name="optimiser"),
        Key("demo-site", name="site", rights=frozenset({Right.READ, Right.REPORT})),
    ]
)
_COMPONENTS: dict[int, TargetCategory] = {
    **dict.fromkeys((1, 2, 3), _category(BatteryType.LI_ION)),
    **dict.fromkeys((4,), _category(BatteryType.NA_ION)),
    **dict.fromkeys((11, 12), _category(InverterType.PV)),
    **dict.fromkeys((21, 22, 23), _category(EvChargerType.AC)),
    31: TargetCategory(ElectricalComponentCategory.METER),
}


async def show_site(address: TcpAddress) -> None:
    """Run the site and its page until a signal stops it."""
    if not address.local:
        raise ValueError(f"--web {address} serves other machines: the keys of the demo are public")
    logging.getLogger("trio_dispatch.actors").setLevel(logging.CRITICAL)  # they are meant to fail
    options = PageOptions(address, [address.host], _COMPONENTS, [_MICROGRID], _HOUR)
    async with (
        open_store(None) as store,
        open_service(store, keys=_KEYS) as service,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(serve_own_page, options, service, None)
        await write(
            "Log in with the key demo, or with demo-viewer, which can only read.  Ctrl-C ends it.\n"
        )
        async with _open_line(service) as line, open_channel(line.connect) as channel:
            await _plan(DispatchClient(channel, key="demo-optimiser"))
            nursery.start_soon(_optimise, DispatchClient(channel, key="demo-optimiser"))
            nursery.start_soon(_run_batteries, channel)
            nursery.start_soon(_run_car_park, service)
            await wait_stopping()
            nursery.cancel_scope.cancel()


# Connections in this process, which can be cut.


@dataclass
class _Line:
    """A line to the service."""

    service: DispatchService
    nursery: trio.Nursery
    works: bool = True
    streams: list[trio.abc.Stream] = field(default_factory=list)

    async def connect(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if not self.works:
            raise ConnectionRefusedError("the line is down")
        ours, theirs = map(trio.socket.from_stdlib_socket, socket.socketpair())
        stream = trio.SocketStream(theirs)
        self.streams.append(stream)
        self.nursery.start_soon(self.service.server.serve_stream, stream)
        return trio.SocketStream(ours)

    async def cut(self) -> None:
        self.works = False
        streams, self.streams = self.streams, []
        for stream in streams:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def _open_line(service: DispatchService) -> AsyncIterator[_Line]:
    async with trio.open_nursery() as nursery:
        yield _Line(service, nursery)
        nursery.cancel_scope.cancel()


# The plan, and the optimiser that changes it.


async def _plan(client: DispatchClient) -> None:
    """Create what recurs."""
    soon = clock.now().replace(microsecond=0) + 3 * _SECOND
    batteries = TargetCategories(ElectricalComponentCategory.BATTERY)

    async def create(
        type: str,
        target: TargetIds | TargetCategories,
        duration: timedelta | None,
        payload: Mapping[str, Any],
        recurrence: RecurrenceRule | None,
        after: timedelta = timedelta(),
        **more: bool,
    ) -> None:
        await client.create(
            _MICROGRID,
            type=type,
            target=target,
            start_time=soon + after,
            duration=duration,
            payload=payload,
            recurrence=recurrence,
            **more,
        )

    every, daily = partial(RecurrenceRule, Frequency.MINUTELY), Frequency.DAILY
    weekdays = (
        Weekday.MONDAY,
        Weekday.TUESDAY,
        Weekday.WEDNESDAY,
        Weekday.THURSDAY,
        Weekday.FRIDAY,
    )
    await create("CHARGE", TargetIds(1, 2), 2 * _MINUTE, {"power_kw": 5}, every(5))
    await create("CHARGE", TargetIds(2, 3), 3 * _MINUTE, {"power_kw": 2.5}, every(7), after=_MINUTE)
    await create("DISCHARGE", TargetIds(3), 2 * _MINUTE, {"power_kw": -4}, every(6), after=_MINUTE)
    await create(
        "DISCHARGE", TargetIds(1), _MINUTE, {"power_kw": -1}, every(4), 2 * _MINUTE, dry_run=True
    )
    await create("CHARGE", TargetIds(4), _MINUTE, {"power_kw": "a lot"}, every(5), _MINUTE)
    await create("EV_CHARGING", TargetIds(21, 22), 90 * _SECOND, {"current_a": 16}, every(3))
    await create("EV_CHARGING", TargetIds(23), 2 * _MINUTE, {"current_a": 32}, every(4), _MINUTE)
    await create("METER_RESET", TargetIds(31), timedelta(), {}, every(2))
    await create(
        "PEAK_SHAVING",
        TargetCategories(InverterType.PV),
        _HOUR,
        {"limit": {"power_kw": 30}},
        RecurrenceRule(daily, byhours=(11, 12, 13), byminutes=(0,)),
    )
    await create(
        "CHARGE", batteries, 3 * _HOUR, {"power_kw": 8}, RecurrenceRule(daily, byhours=(1,))
    )
    await create(
        "DISCHARGE",
        batteries,
        2 * _HOUR,
        {"power_kw": -8},
        RecurrenceRule(Frequency.WEEKLY, byweekdays=weekdays, byhours=(17,), byminutes=(30,)),
    )
    await create(
        "CHARGE", TargetIds(3), _HOUR, {"power_kw": 1}, RecurrenceRule(daily), active=False
    )


async def _optimise(client: DispatchClient) -> None:
    """Create, change and delete single dispatches for ever."""
    own: list[Dispatch] = []
    while True:
        await trio.sleep(25)
        created = await client.create(
            _MICROGRID,
            type=random.choice(["CHARGE", "DISCHARGE"]),
            target=TargetIds(random.choice([1, 2, 3])),
            start_time=clock.now().replace(microsecond=0)
            + timedelta(seconds=random.randint(5, 120)),
            duration=timedelta(seconds=random.randint(40, 240)),
            payload={"power_kw": random.randint(1, 9)},
        )
        own.append(created)
        await trio.sleep(15)
        await client.update(_MICROGRID, created.id, payload={"power_kw": random.randint(1, 9)})
        if len(own) > 6:
            await client.delete(_MICROGRID, own.pop(0).id)


# The devices.


class BatteryRoom:
    """Simulates batteries, which have a state of charge in kWh."""

    def __init__(self) -> None:
        self._energy = dict.fromkeys((1, 2, 3, 4), 5.0)

    async def drive(self, run: ActorRun[float]) -> None:
        """Charge or discharge a battery: the actor."""
        while True:
            await trio.sleep(_STEP)
            energy = self._energy[run.component] + run.payload * _STEP / 3600
            self._energy[run.component] = min(10.0, max(0.0, energy))
            run.report({"energy_kwh": round(energy, 3), "power_kw": run.payload})


async def charge_car(run: ActorRun[Mapping[str, Any]]) -> None:
    """Charge a car: the actor, which fails sometimes."""
    if random.random() < _FAILURES:
        await trio.sleep(2)
        raise RuntimeError(f"charger {run.component} does not answer")
    while True:
        await trio.sleep(_STEP)
        run.report({"current_a": run.payload["current_a"], "car": "plugged in"})


def _power(payload: Mapping[str, Any]) -> float:
    return float(payload["power_kw"])


def _own(low: int, high: int) -> MergeByComponent:
    return MergeByComponent({id_: kind for id_, kind in _COMPONENTS.items() if low <= id_ <= high})


async def _run_batteries(channel: Channel) -> None:
    """Carry out what is for batteries."""
    async with open_dispatcher(
        _MICROGRID, channel=channel, key="demo-site", name="battery-room", probe_interval=_PROBE
    ) as dispatcher:
        await dispatcher.run_actors(
            ["CHARGE", "DISCHARGE"], BatteryRoom().drive, payload=_power, merge=_own(1, 9)
        )


async def _run_car_park(service: DispatchService) -> None:
    """Carry out what is for the chargers; their line is down for a minute every few minutes."""
    async with (
        _open_line(service) as line,
        open_channel(line.connect) as channel,
        open_dispatcher(
            _MICROGRID, channel=channel, key="demo-site", name="car-park", probe_interval=_PROBE
        ) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        merge = _own(21, 29)
        nursery.start_soon(partial(dispatcher.run_actors, "EV_CHARGING", charge_car, merge=merge))
        while True:
            await trio.sleep(180)
            await line.cut()
            await trio.sleep(60)
            line.works = True
