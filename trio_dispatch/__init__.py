"""Dispatches of a microgrid, on time and on Trio.

`open_dispatcher` follows what a dispatch service says and tells of it on two kinds of channels:
lifecycle events, and what is due to run.  `open_client` makes single calls.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._timeline import timeline
    from .actors import ActorRun
    from .broadcast import Broadcast, BroadcastStatistics, Receiver, ReceiverStatistics
    from .client import DispatchClient, DispatchStream, Page, StreamEvent, open_client
    from .dispatch import Dispatch
    from .dispatcher import Dispatcher, DispatcherStatistics, open_dispatcher
    from .errors import DispatchError, ServiceError
    from .events import Created, Deleted, LifecycleEvent, MissedRun, RunningState, Updated
    from .merge import MergeByType, MergeByTypeTarget, MergeStrategy
    from .recurrence import EndCriteria, Frequency, RecurrenceRule, Weekday
    from .sync import SyncPhase, SyncState
    from .targets import (
        BatteryType,
        ElectricalComponentCategory,
        EvChargerType,
        InverterType,
        Target,
        TargetCategories,
        TargetCategory,
        TargetIds,
    )

__all__ = [
    "ActorRun",
    "BatteryType",
    "Broadcast",
    "BroadcastStatistics",
    "Created",
    "Deleted",
    "Dispatch",
    "DispatchClient",
    "DispatchError",
    "DispatchStream",
    "Dispatcher",
    "DispatcherStatistics",
    "ElectricalComponentCategory",
    "EndCriteria",
    "EvChargerType",
    "Frequency",
    "InverterType",
    "LifecycleEvent",
    "MergeByType",
    "MergeByTypeTarget",
    "MergeStrategy",
    "MissedRun",
    "Page",
    "Receiver",
    "ReceiverStatistics",
    "RecurrenceRule",
    "RunningState",
    "ServiceError",
    "StreamEvent",
    "SyncPhase",
    "SyncState",
    "Target",
    "TargetCategories",
    "TargetCategory",
    "TargetIds",
    "Updated",
    "Weekday",
    "open_client",
    "open_dispatcher",
    "timeline",
]

# Where each name is defined.  It is imported when it is first asked for: who draws a picture or
# asks for the command line's help does not wait for gRPC.
_HOMES = {
    "ActorRun": "actors",
    "BatteryType": "targets",
    "Broadcast": "broadcast",
    "BroadcastStatistics": "broadcast",
    "Created": "events",
    "Deleted": "events",
    "Dispatch": "dispatch",
    "DispatchClient": "client",
    "DispatchError": "errors",
    "DispatchStream": "client",
    "Dispatcher": "dispatcher",
    "DispatcherStatistics": "dispatcher",
    "ElectricalComponentCategory": "targets",
    "EndCriteria": "recurrence",
    "EvChargerType": "targets",
    "Frequency": "recurrence",
    "InverterType": "targets",
    "LifecycleEvent": "events",
    "MergeByType": "merge",
    "MergeByTypeTarget": "merge",
    "MergeStrategy": "merge",
    "MissedRun": "events",
    "Page": "client",
    "Receiver": "broadcast",
    "ReceiverStatistics": "broadcast",
    "RecurrenceRule": "recurrence",
    "RunningState": "events",
    "ServiceError": "errors",
    "StreamEvent": "client",
    "SyncPhase": "sync",
    "SyncState": "sync",
    "Target": "targets",
    "TargetCategories": "targets",
    "TargetCategory": "targets",
    "TargetIds": "targets",
    "Updated": "events",
    "Weekday": "recurrence",
    "open_client": "client",
    "open_dispatcher": "dispatcher",
    "timeline": "_timeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
