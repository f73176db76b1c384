"""Follow the dispatches of a microgrid on Trio.

`open_dispatcher` keeps in sync with a dispatch service.  It announces on two kinds of channels what
happens to the dispatches, and what is due to run.  `open_client` makes single calls.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .actors.merge import (
        MergeByType as MergeByType,
    )
    from .actors.merge import (
        MergeByTypeTarget as MergeByTypeTarget,
    )
    from .actors.merge import (
        MergeStrategy as MergeStrategy,
    )
    from .actors.run import ActorRun as ActorRun
    from .actors.supervisor import Actor as Actor
    from .actors.supervisor import OnOrphan as OnOrphan
    from .client.client import (
        DispatchClient as DispatchClient,
    )
    from .client.client import (
        Page as Page,
    )
    from .client.client import (
        open_client as open_client,
    )
    from .client.errors import ServiceError as ServiceError
    from .client.stream import DispatchStream as DispatchStream
    from .client.stream import StreamEvent as StreamEvent
    from .concurrency.broadcast import (
        Broadcast as Broadcast,
    )
    from .concurrency.broadcast import (
        BroadcastStatistics as BroadcastStatistics,
    )
    from .concurrency.broadcast import (
        Receiver as Receiver,
    )
    from .concurrency.broadcast import (
        ReceiverStatistics as ReceiverStatistics,
    )
    from .dispatcher.dispatcher import Dispatcher as Dispatcher
    from .dispatcher.dispatcher import open_dispatcher as open_dispatcher
    from .dispatcher.statistics import DispatcherStatistics as DispatcherStatistics
    from .dispatcher.sync import SyncPhase as SyncPhase
    from .dispatcher.sync import SyncState as SyncState
    from .errors import DispatchError as DispatchError
    from .model.dispatch import Dispatch as Dispatch
    from .model.dispatch import RunningState as RunningState
    from .model.events import (
        Created as Created,
    )
    from .model.events import (
        Deleted as Deleted,
    )
    from .model.events import (
        LifecycleEvent as LifecycleEvent,
    )
    from .model.events import (
        MissedRun as MissedRun,
    )
    from .model.events import (
        Updated as Updated,
    )
    from .model.recurrence.rule import (
        EndCriteria as EndCriteria,
    )
    from .model.recurrence.rule import (
        Frequency as Frequency,
    )
    from .model.recurrence.rule import (
        RecurrenceRule as RecurrenceRule,
    )
    from .model.recurrence.rule import (
        Weekday as Weekday,
    )
    from .model.target import (
        BatteryType as BatteryType,
    )
    from .model.target import (
        ElectricalComponentCategory as ElectricalComponentCategory,
    )
    from .model.target import (
        EvChargerType as EvChargerType,
    )
    from .model.target import (
        InverterType as InverterType,
    )
    from .model.target import (
        Target as Target,
    )
    from .model.target import (
        TargetCategories as TargetCategories,
    )
    from .model.target import (
        TargetCategory as TargetCategory,
    )
    from .model.target import (
        TargetIds as TargetIds,
    )
    from .model.undecodable import Undecodable as Undecodable
    from .process import run as run
    from .timeline import Timeline as Timeline
    from .timeline import draw_timeline as draw_timeline

# A name is imported when it is first used: drawing a picture or asking the command line for help
# does not load gRPC.
_EXPORTS = {
    "actors.merge": ("MergeByType", "MergeByTypeTarget", "MergeStrategy"),
    "actors.run": ("ActorRun",),
    "actors.supervisor": ("Actor", "OnOrphan"),
    "client.client": ("DispatchClient", "Page", "open_client"),
    "client.errors": ("ServiceError",),
    "client.stream": ("DispatchStream", "StreamEvent"),
    "concurrency.broadcast": ("Broadcast", "BroadcastStatistics", "Receiver", "ReceiverStatistics"),
    "dispatcher.dispatcher": ("Dispatcher", "open_dispatcher"),
    "dispatcher.statistics": ("DispatcherStatistics",),
    "dispatcher.sync": ("SyncPhase", "SyncState"),
    "errors": ("DispatchError",),
    "model.dispatch": ("Dispatch", "RunningState"),
    "model.events": ("Created", "Deleted", "LifecycleEvent", "MissedRun", "Updated"),
    "model.recurrence.rule": ("EndCriteria", "Frequency", "RecurrenceRule", "Weekday"),
    "model.target": (
        "BatteryType",
        "ElectricalComponentCategory",
        "EvChargerType",
        "InverterType",
        "Target",
        "TargetCategories",
        "TargetCategory",
        "TargetIds",
    ),
    "model.undecodable": ("Undecodable",),
    "process": ("run",),
    "timeline": ("Timeline", "draw_timeline"),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
