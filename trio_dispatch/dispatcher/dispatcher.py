"""The dispatcher: follows a microgrid's dispatches, and announces what is due."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ..actors.registry import ActorRegistry
from ..concurrency.nursery import open_service_nursery
from ..model.validation import check_id, check_name
from ..process import notify_ready
from .cache import FileCache, NoCache, read_cache
from .facade import Dispatcher
from .lateness import Lateness
from .mirror import Mirror
from .offline import limit_offline
from .scheduler import Scheduler
from .sync import Synchronizer
from .turns import turns_of

if TYPE_CHECKING:
    from ..client.client import Channel

__all__ = ["Dispatcher", "open_dispatcher"]


@asynccontextmanager
async def open_dispatcher(
    microgrid_id: int,
    *,
    server_url: str | None = None,
    key: str | None = None,
    sign_secret: str | None = None,
    channel: Channel | None = None,
    call_timeout: timedelta = timedelta(seconds=60),
    cache: str | PathLike[str] | None = None,
    name: str | None = None,
    probe_interval: timedelta = timedelta(seconds=30),
    resync_interval: timedelta = timedelta(minutes=5),
    catch_up: timedelta = timedelta(seconds=60),
    max_offline: timedelta | None = None,
    history: timedelta = timedelta(hours=1),
) -> AsyncIterator[Dispatcher]:
    """Follow the dispatches of a microgrid: ``async with open_dispatcher(1, ...) as dispatcher``.

    When the block is entered, the dispatcher knows every dispatch of the microgrid, or those in the
    cache.  Without a cache it first waits until the service can be reached.  If the service becomes
    unreachable later, the schedule continues with the last known dispatches.  When the block has
    been left, for whatever reason, all tasks have ended, and every receiver reaches its end.  When
    the block is cancelled, its body is unwound first, while the dispatcher keeps running for the
    body's ``finally`` blocks.

    Args:
      microgrid_id: The microgrid.
      server_url, key, sign_secret, channel, call_timeout: How to reach the service, see
        `open_client`.
      cache: A file for the last known dispatches and for what was announced, so that a start needs
        no service.  On restart, every status receiver gets stops for runs left over from a crash,
        and pulses that were due meanwhile are announced if they are at most `catch_up` late.  A
        file that cannot be used is renamed.
      name: The name under which runs are reported to the service, for example the site's.  No two
        dispatchers of a microgrid may have the same.  Reports that wait for the service are kept
        beside the cache, or in memory without one.  By default, nothing is reported.
      probe_interval: How often one small call checks that the stream of changes has missed nothing;
        and, with a `name`, how often another one sends the status of the dispatcher.
      resync_interval: How often everything is listed again.
      catch_up: A start or a pulse is announced if it is at most this late.  A later one is a missed
        run, except that a run that still goes on is always announced.
      max_offline: Stop all runs when there has been no contact with the service for this long,
        until it is back.  By default the schedule continues without a limit.
      history: Dispatches that ended longer ago than this need not be known.

    Raises:
      ServiceError: nothing is cached, and the service refused the first sync for good, for example
        because the API key is invalid; or its certificate does not verify.
      DispatchError: the cache cannot be read, or its folder does not exist.
      ValueError: an argument is invalid; the message names it.
    """
    _check_durations(
        probe_interval=probe_interval,
        resync_interval=resync_interval,
        catch_up=catch_up,
        max_offline=max_offline,
        history=history,
    )
    check_id("microgrid_id", microgrid_id)
    if name is not None:
        check_name("name", name)
    # Imported here, since gRPC and the messages of the API take as long to import as Trio.
    from ..client.client import open_client  # noqa: PLC0415

    path = None if cache is None else Path(cache)
    saved = None if path is None else await read_cache(path, microgrid_id)
    async with open_client(
        server_url, key=key, sign_secret=sign_secret, channel=channel, call_timeout=call_timeout
    ) as client:
        actors = ActorRegistry()
        lateness = Lateness()
        reporter = None
        if name is not None:
            from .reports.reporter import open_reporter  # noqa: PLC0415 - not all report

            reporter = await open_reporter(
                client, microgrid_id, name, path, lateness=lateness, interval=probe_interval
            )
        mirror = Mirror(saved.dispatches if saved is not None else ())
        scheduler = Scheduler(
            microgrid_id,
            mirror.dispatches,
            catch_up=catch_up,
            history=history,
            cache=(lambda _: NoCache())
            if path is None
            else partial(FileCache, path, microgrid_id, saved),
            driven=actors.driven,
            saved=saved,
            lateness=lateness,
            report=(lambda _, __: None) if reporter is None else reporter.announce,
        )
        synchronizer = Synchronizer(
            client,
            microgrid_id,
            mirror,
            scheduler.apply,
            turns=turns_of(channel),
            probe_interval=probe_interval,
            resync_interval=resync_interval,
            history=history,
            resilient=saved is not None,
        )
        try:
            await scheduler.restore()
            actors.add_orphans(scheduler.orphans.stopped, microgrid_id)
            async with open_service_nursery() as nursery:
                nursery.start_soon(scheduler.run)
                if max_offline is not None:
                    nursery.start_soon(
                        partial(
                            limit_offline,
                            max_offline,
                            synchronizer.state,
                            microgrid_id=microgrid_id,
                            suspend=scheduler.suspend,
                            resume=scheduler.resume,
                        )
                    )
                if reporter is not None:
                    nursery.start_soon(reporter.run, synchronizer.state)
                await nursery.start(synchronizer.run)
                # Not before, since a file with a part of the dispatches is worse than none.
                nursery.start_soon(scheduler.cache.run)
                if reporter is not None:
                    nursery.start_soon(
                        reporter.settle, synchronizer.state, mirror.dispatches, scheduler.wait_idle
                    )
                notify_ready()
                yield Dispatcher(
                    client,
                    microgrid_id,
                    mirror.dispatches,
                    scheduler,
                    synchronizer,
                    actors,
                    reporter,
                    name,
                )
                nursery.cancel_scope.cancel()
        finally:
            scheduler.close()


def _check_durations(**durations: timedelta | None) -> None:
    for name, duration in durations.items():
        if duration is not None and duration < timedelta():
            raise ValueError(f"{name} {duration} is negative")
        if name.endswith("_interval") and not duration:
            raise ValueError(f"{name} 0:00:00 would call the service without a pause: give more")
