"""What exists: pages of lists and events of a stream, folded into one picture.

Theory of operation.  Everything that affects the picture goes through this file; it knows neither
I/O nor the time of day.  Two sources feed it.  The *stream* tells of each change as it happens, in
order; what it says is applied at once.  A *list* tells what exists, page by page, while the stream
goes on; a page may be older than what the stream has said since.

What is *touched* decides: the ids that the stream spoke of since the list began.

=====================  =====================================  ===================================
what comes             about a touched id                     about another id
=====================  =====================================  ===================================
created, updated,      its content counts, and the id is touched from now on
anything but deleted
deleted                it is gone, and the id is touched from now on
on a page              counts if it is newer; never if the    its content counts
                       stream deleted it
missing from a whole   nothing                                retired if it had ended before the
list                                                          list's bound; else asked for by id
missing from the       nothing                                deleted
answer to that
=====================  =====================================  ===================================

A list is *whole* when `end_list` is called: every page came.  One that was broken off is followed
by `begin_list`, and deletes nothing.  A dispatch on a page that could not be decoded counts as
seen; if not even its id could be read, any id might be its, and nothing is missing.  A service may
count rows to find its pages: when one is deleted between two pages, the next begins one row late.
What is known is then missed and asked for; for what is not, the list has to be read again.

The same content twice is no event.  To be *retired* is no event either: such a dispatch has ended
and is no longer on the list, which holds back what ended before its bound.  Its id is remembered,
so that a later word about it is an update or a deletion, as for whoever saw it created; the last
hundred thousand are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import filterfalse
from types import MappingProxyType

from ..model.dispatch import Dispatch
from ..model.events import Created, Deleted, LifecycleEvent, Updated
from ..model.undecodable import Undecodable

__all__ = ["Listed", "Mirror"]

RETIRED_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Listed:
    """What a whole list says by what it lacks.

    Attributes:
      retired: The ids that are no longer known, since they have ended.
      missing: The ids to be asked for by id, and then to be passed to `Mirror.confirm`.
      doubtful: Whether something that is not yet known may have been passed over, so that the list
        is to be read again.
    """

    retired: tuple[int, ...]
    missing: tuple[int, ...]
    doubtful: bool = False


class Mirror:
    """What exists, as far as is known.

    Attributes:
      dispatches: All that is known and neither deleted nor retired, by id; live and read-only.
    """

    def __init__(self, known: Iterable[Dispatch] = ()) -> None:
        self._known = {dispatch.id: dispatch for dispatch in known}
        self.dispatches: Mapping[int, Dispatch] = MappingProxyType(self._known)
        self._retired: OrderedDict[int, None] = OrderedDict()
        # Since the present list began:
        self._touched: set[int] = set()
        self._deleted: set[int] = set()
        self._seen: set[int] = set()
        self._blurred = False
        self._pages = 0
        self._shrunk = False
        self._bound: datetime | None = None

    def changed(self, dispatch: Dispatch) -> list[LifecycleEvent]:
        """The stream says that a dispatch was created or updated."""
        self._touched.add(dispatch.id)
        self._deleted.discard(dispatch.id)
        return self._take(dispatch)

    def deleted(self, dispatch: Dispatch | Undecodable) -> list[LifecycleEvent]:
        """The stream says that a dispatch was deleted; of one that is unreadable the id will do."""
        if dispatch.id is None:
            return []
        self._touched.add(dispatch.id)
        self._deleted.add(dispatch.id)
        self._shrunk = True
        return self._drop(dispatch.id, dispatch if isinstance(dispatch, Dispatch) else None)

    def begin_list(self, bound: datetime) -> None:
        """A list begins, of what has not ended before `bound`."""
        self._touched.clear()
        self._deleted.clear()
        self._seen.clear()
        self._blurred = False
        self._pages = 0
        self._shrunk = False
        self._bound = bound

    def page(self, dispatches: Iterable[Dispatch | Undecodable]) -> list[LifecycleEvent]:
        """A page of the present list."""
        self._pages += 1
        events: list[LifecycleEvent] = []
        for dispatch in dispatches:
            if dispatch.id is None:
                self._blurred = True
                continue
            self._seen.add(dispatch.id)
            if isinstance(dispatch, Dispatch) and self._counts(dispatch):
                events += self._take(dispatch)
        return events

    def end_list(self) -> Listed:
        """The last page of the present list has come."""
        retired: list[int] = []
        missing: list[int] = []
        if not self._blurred and self._bound is not None:
            # The quickest way through the many that were seen.
            for id_ in filterfalse(self._seen.__contains__, self._known):
                if id_ in self._touched:
                    continue
                end = self._known[id_].last_end()
                (retired if end is not None and end <= self._bound else missing).append(id_)
        for id_ in retired:
            del self._known[id_]
            self._retired[id_] = None
            if len(self._retired) > RETIRED_LIMIT:
                self._retired.popitem(last=False)
        doubtful = self._pages > 1 and self._shrunk
        return Listed(tuple(sorted(retired)), tuple(sorted(missing)), doubtful)

    def confirm(
        self, missing: Iterable[int], found: Iterable[Dispatch | Undecodable]
    ) -> list[LifecycleEvent]:
        """The whole answer to what was asked for by id: what it lacks is deleted."""
        events = self.page(found)
        if not self._blurred:
            for id_ in missing:
                if id_ not in self._seen and id_ not in self._touched:
                    events += self._drop(id_, None)
        return events

    def _counts(self, listed: Dispatch) -> bool:
        if listed.id in self._deleted:
            return False
        known = self._known.get(listed.id)
        return listed.id not in self._touched or known is None or listed.newer_than(known)

    def _take(self, dispatch: Dispatch) -> list[LifecycleEvent]:
        known = self._known.get(dispatch.id)
        if known == dispatch:
            return []
        self._known[dispatch.id] = dispatch
        if known is None and dispatch.id not in self._retired:
            return [Created(dispatch)]
        self._retired.pop(dispatch.id, None)
        return [Updated(dispatch, known)]

    def _drop(self, id_: int, last: Dispatch | None) -> list[LifecycleEvent]:
        known = self._known.pop(id_, None)
        was_retired = id_ in self._retired
        self._retired.pop(id_, None)
        content = last or known
        if content is None or (known is None and not was_retired):
            return []
        return [Deleted(replace(content, deleted=True), known)]
