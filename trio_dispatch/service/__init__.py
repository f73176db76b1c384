"""The dispatch service: what keeps the dispatches of microgrids and speaks the API.

`open_service` embeds one in a program::

    async with (
        open_store("dispatches.db") as store,
        open_service(store, keys=Keys.load("keys.toml")) as service,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(partial(service.server.serve_tcp, 50051, host="127.0.0.1"))
        ...

As a program of its own it is ``trio-dispatch serve``.
"""

from .auth import Authenticator, Key, Keys, Right
from .backup import backup_file
from .errors import (
    InvalidRequestError,
    NotFoundError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from .listing import Page, Query, SortKey, Span, Where
from .observe import FinishedCall, Observer, log_call, observing
from .row import Change, Row
from .service import DispatchService, open_service, open_store
from .store import Store
from .watchers import Watcher, Watchers, WatchersStatistics, WatcherTooSlowError

__all__ = [
    "Authenticator",
    "Change",
    "DispatchService",
    "FinishedCall",
    "InvalidRequestError",
    "Key",
    "Keys",
    "NotFoundError",
    "Observer",
    "Page",
    "Query",
    "Right",
    "Row",
    "SortKey",
    "Span",
    "Store",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "Watcher",
    "WatcherTooSlowError",
    "Watchers",
    "WatchersStatistics",
    "Where",
    "backup_file",
    "log_call",
    "observing",
    "open_service",
    "open_store",
]
