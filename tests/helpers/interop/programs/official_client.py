"""Runs the official client with commands from the tests.

It runs in the environment of the peers, with the URL and the key of the service as arguments, and
the secret to sign with, if there is one.  What it shows of a dispatch is put into JSON by `shown`,
and what it is to send comes in the same form.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import grpc
from frequenz.client.common.microgrid import MicrogridId
from frequenz.client.common.microgrid.electrical_components import ElectricalComponentCategory
from frequenz.client.dispatch import DispatchApiClient
from frequenz.client.dispatch.recurrence import EndCriteria, Frequency, RecurrenceRule, Weekday
from frequenz.client.dispatch.types import (
    BatteryType,
    Dispatch,
    DispatchEvent,
    DispatchId,
    EvChargerType,
    InverterType,
    TargetCategories,
    TargetIds,
)

from tests.helpers.interop.programs.commands import obey

MICROGRID = MicrogridId(1)


def shown(dispatch: Dispatch) -> dict[str, Any]:
    """Return the content of a dispatch of the official client."""
    return {
        "id": int(dispatch.id),
        "type": dispatch.type,
        "start_time": dispatch.start_time.isoformat(),
        "duration": None if dispatch.duration is None else dispatch.duration.total_seconds(),
        "target": shown_target(dispatch.target),
        "active": dispatch.active,
        "dry_run": dispatch.dry_run,
        "payload": dispatch.payload,
        "recurrence": shown_rule(dispatch.recurrence),
        "create_time": dispatch.create_time.isoformat(),
        "update_time": dispatch.update_time.isoformat(),
        "end_time": dispatch.end_time and dispatch.end_time.isoformat(),
    }


def shown_target(target: TargetIds | TargetCategories) -> list[Any]:
    if isinstance(target, TargetIds):
        return sorted(map(int, target))
    return sorted(t.category2.name + (f":{t.type.name}" if t.type else "") for t in target)


def shown_rule(rule: RecurrenceRule) -> dict[str, Any] | None:
    if rule.frequency is Frequency.UNSPECIFIED:
        return None
    end = rule.end_criteria
    return {
        "frequency": rule.frequency.name,
        "interval": rule.interval,
        "count": end and end.count,
        "until": end and end.until and end.until.isoformat(),
        "byminutes": rule.byminutes,
        "byhours": rule.byhours,
        "byweekdays": [day.name for day in rule.byweekdays],
        "bymonthdays": rule.bymonthdays,
        "bymonths": rule.bymonths,
    }


def meant(name: str, value: Any) -> Any:
    """Convert the value of a field to the types of the official client."""
    match name, value:
        case _, None:
            return None
        case "start_time", "NOW":
            return value
        case (("start_time" | "start_from" | "start_to" | "end_from" | "end_to"), _):
            return datetime.fromisoformat(value)
        case "duration", _:
            return timedelta(seconds=value)
        case "target", _:
            return meant_target(value)
        case "target_components", _:
            return list(map(meant_target, value))
        case "recurrence", _:
            return meant_rule(**value)
    return value


def meant_target(value: list[Any]) -> TargetIds | TargetCategories:
    if all(isinstance(item, int) for item in value):
        return TargetIds(*value)
    return TargetCategories(*map(meant_category, value))


def meant_category(text: str) -> Any:
    category, _, type_ = text.partition(":")
    if not type_:
        return ElectricalComponentCategory[category]
    kinds = {"BATTERY": BatteryType, "INVERTER": InverterType, "EV_CHARGER": EvChargerType}
    return kinds[category][type_]


def meant_rule(
    frequency: str,
    *,
    count: int | None = None,
    until: str | None = None,
    byweekdays: tuple[str, ...] = (),
    **others: Any,
) -> RecurrenceRule:
    end = None
    if count is not None or until is not None:
        end = EndCriteria(count=count, until=until and datetime.fromisoformat(until))
    return RecurrenceRule(
        frequency=Frequency[frequency],
        end_criteria=end,
        byweekdays=[Weekday[day] for day in byweekdays],
        **others,
    )


class Control:
    """The commands.  An error is reported as the name of its gRPC status."""

    def __init__(self) -> None:
        url, key, *secret = sys.argv[1:]
        self.client = DispatchApiClient(
            server_url=url, auth_key=key, sign_secret=secret[0] if secret else None
        )
        self.events: AsyncIterator[DispatchEvent] | None = None

    async def create(self, **fields: Any) -> dict[str, Any]:
        fields = {name: meant(name, value) for name, value in fields.items()}
        return shown(await self.client.create(MICROGRID, **fields))

    async def get(self, id: int) -> dict[str, Any]:
        return shown(await self.client.get(microgrid_id=MICROGRID, dispatch_id=DispatchId(id)))

    async def update(self, id: int, **fields: Any) -> dict[str, Any]:
        changes = {name: meant(name, value) for name, value in fields.items()}
        if (rule := changes.pop("recurrence", None)) is not None:
            changes |= {f"recurrence.{name}": value for name, value in vars(rule).items()}
        changes = {k: v for k, v in changes.items() if k != "recurrence.end_criteria" or v}
        return shown(
            await self.client.update(
                microgrid_id=MICROGRID, dispatch_id=DispatchId(id), new_fields=changes
            )
        )

    async def delete(self, id: int) -> None:
        await self.client.delete(microgrid_id=MICROGRID, dispatch_id=DispatchId(id))

    async def list(self, **filters: Any) -> list[list[dict[str, Any]]]:
        """Return the pages of a list."""
        filters = {name: meant(name, value) for name, value in filters.items()}
        return [list(map(shown, page)) async for page in self.client.list(MICROGRID, **filters)]

    async def stream(self) -> None:
        self.events = self.client.stream(MICROGRID)

    async def next_event(self) -> tuple[str, dict[str, Any]]:
        assert self.events is not None
        event = await anext(self.events)
        return event.event.name, shown(event.dispatch)


def say(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    asyncio.run(obey(Control, say))
