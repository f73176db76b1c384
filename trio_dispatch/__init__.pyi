# ruff: noqa: I001 - one statement for each module

from .actors.merge import (
    MergeByComponent as MergeByComponent,
    MergeByType as MergeByType,
    MergeByTypeTarget as MergeByTypeTarget,
    MergeStrategy as MergeStrategy,
)
from .actors.options import Actor as Actor, OnOrphan as OnOrphan
from .actors.registry import RunInfo as RunInfo
from .actors.run import ActorRun as ActorRun
from .actors.task import TaskState as TaskState
from .api.replies import Page as Page
from .api.runs import LogPage as LogPage
from .client.client import (
    UNSET as UNSET,
    DispatchClient as DispatchClient,
    SortBy as SortBy,
    Unset as Unset,
    open_client as open_client,
    open_service_channel as open_service_channel,
)
from .client.errors import ServiceError as ServiceError
from .client.stream import DispatchStream as DispatchStream, RunStream as RunStream
from .concurrency.broadcast import (
    Broadcast as Broadcast,
    BroadcastStatistics as BroadcastStatistics,
    LimitedBroadcast as LimitedBroadcast,
    Receiver as Receiver,
    ReceiverStatistics as ReceiverStatistics,
)
from .concurrency.observable import Observable as Observable
from .dispatcher.dispatcher import open_dispatcher as open_dispatcher
from .dispatcher.facade import Dispatcher as Dispatcher
from .dispatcher.lateness import LatenessHistogram as LatenessHistogram
from .dispatcher.statistics import DispatcherStatistics as DispatcherStatistics
from .dispatcher.state import SyncPhase as SyncPhase, SyncState as SyncState
from .errors import DispatchError as DispatchError
from .model.arbitration import PlannedInterval as PlannedInterval, Priority as Priority
from .model.content import (
    DispatchContent as DispatchContent,
    Skipped as Skipped,
    skip_occurrence as skip_occurrence,
)
from .model.dispatch import Dispatch as Dispatch, RunningState as RunningState
from .model.dispatchers import (
    ConnectionState as ConnectionState,
    DispatcherInfo as DispatcherInfo,
    DispatcherStatus as DispatcherStatus,
)
from .model.events import (
    Created as Created,
    Deleted as Deleted,
    EventKind as EventKind,
    LifecycleEvent as LifecycleEvent,
    MissedRun as MissedRun,
    StreamEvent as StreamEvent,
    Updated as Updated,
)
from .model.expansion import Components as Components
from .model.local_time.schedule import LocalSchedule as LocalSchedule
from .model.payload import JSON as JSON
from .model.recurrence.rule import (
    EndCriteria as EndCriteria,
    Frequency as Frequency,
    RecurrenceRule as RecurrenceRule,
    Weekday as Weekday,
)
from .model.runs import (
    ChangeKind as ChangeKind,
    DispatchChange as DispatchChange,
    ReportedRun as ReportedRun,
    ReportedState as ReportedState,
    ReportKind as ReportKind,
    RunReport as RunReport,
    StopReason as StopReason,
)
from .model.target import (
    BatteryType as BatteryType,
    ComponentKind as ComponentKind,
    ElectricalComponentCategory as ElectricalComponentCategory,
    EvChargerType as EvChargerType,
    InverterType as InverterType,
    Target as Target,
    TargetCategories as TargetCategories,
    TargetCategory as TargetCategory,
    TargetIds as TargetIds,
)
from .model.undecodable import Undecodable as Undecodable
from .process import run as run
from .timeline import Timeline as Timeline, draw_timeline as draw_timeline

__version__: str
