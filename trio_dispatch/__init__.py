"""Dispatches of a microgrid, on time and on Trio.

`open_dispatcher` follows what a dispatch service says and tells of it on two kinds of channels:
lifecycle events, and what is due to run.  `open_client` makes single calls.
"""

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
