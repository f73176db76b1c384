"""The dispatch service: it stores the dispatches of microgrids and serves the API.

`open_service` embeds it in a program::

    async with (
        open_store("dispatches.db") as store,
        open_service(store, keys=Keys.load("keys.toml")) as service,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(partial(service.server.serve_tcp, 50051, host="127.0.0.1"))
        ...

``trio-dispatch serve`` runs it as a program of its own.
"""

from typing import TYPE_CHECKING

from .auth import Authenticator
from .errors import (
    InvalidRequestError,
    NotFoundError,
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    WatcherTooSlowError,
)
from .keys import Key, Keys, Right
from .observe import FinishedCall, Observer, log_call, observing
from .service import DispatchService, open_service
from .store import (
    Purged,
    Retention,
    Store,
    WatchersStatistics,
    backup_file,
    open_store,
    purge_file,
)

if TYPE_CHECKING:
    from .metrics import Metrics

__all__ = [
    "Authenticator",
    "DispatchService",
    "FinishedCall",
    "InvalidRequestError",
    "Key",
    "Keys",
    "Metrics",
    "NotFoundError",
    "Observer",
    "Purged",
    "Retention",
    "Right",
    "Store",
    "StoreBusyError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "WatcherTooSlowError",
    "WatchersStatistics",
    "backup_file",
    "log_call",
    "observing",
    "open_service",
    "open_store",
    "purge_file",
]


def __getattr__(name: str) -> object:
    if name == "Metrics":
        # Imported when it is asked for: prometheus-client is an optional dependency.
        from .metrics import Metrics  # noqa: PLC0415

        return Metrics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
