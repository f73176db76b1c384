"""What exists: the pages of lists and the events of a stream, folded into one picture.

Theory of operation.  Everything that changes the picture goes through this file; it knows neither
I/O nor the time of day.  There are two sources.  The *stream* reports each change as it happens, in
order; what it says is applied at once.  A *list* reports what exists, page by page, while the
stream goes on; a page may be older than what the stream has said since.  `_RULES` says what each
piece of evidence about a dispatch means, depending on what the stream has said about that dispatch
since the list began.

A list is *whole* when `end_list` is called: every page came.  One that was broken off is followed
by `begin_list`, and deletes nothing.  A dispatch on a page that could not be decoded exists; if not
even its id could be read, it may be any dispatch, and none is missing.  A service may count rows to
find its pages: when a row is deleted between two pages, the next one skips a row.  A known dispatch
that was skipped is missing, and asked for; for one that is not known, the list is read again.

What cannot be decoded has no content to take, so the table has no evidence for it: all it says is
that the dispatch exists.  It is counted, and is never missing; what is known of it stays.

The same content twice is no event.  That a dispatch *expires* is no event either: it has ended, and
is no longer on the list, which leaves out what ended before its bound.  The ids of the last hundred
thousand expired dispatches are kept, so that what the service says about one later is an update or
a deletion, as it is for a receiver that saw its creation.

What a list finds, the stream should have said.  `unreported` has the ids of what the present list
changed and the stream has not mentioned since.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum, auto
from itertools import filterfalse
from types import MappingProxyType

from ..model.dispatch import Dispatch
from ..model.events import Created, Deleted, LifecycleEvent, Updated
from ..model.undecodable import Undecodable

__all__ = ["Listed", "Mirror"]

EXPIRED_LIMIT = 100_000


# Not plain enumerations: those are hashed in Python, which takes long for each row of a long list.


class _Evidence(IntEnum):
    """What was learned about a dispatch."""

    EVENT = auto()
    """The stream says that it was created or updated."""
    DELETION = auto()
    """The stream says that it was deleted."""
    ON_PAGE = auto()
    """It is on a page of a list."""
    NOT_LISTED = auto()
    """It is on no page of a whole list."""
    NOT_FOUND = auto()
    """It was asked for by id, and is not in the answer."""


class _Said(IntEnum):
    """What the stream has said about a dispatch since the list began."""

    NOTHING = auto()
    CHANGED = auto()
    DELETED = auto()


class _Verdict(IntEnum):
    """What a piece of evidence means."""

    TAKE = auto()
    """It has this content."""
    TAKE_IF_NEWER = auto()
    """It has this content, unless the stream gave a newer one."""
    DROP = auto()
    """It is deleted."""
    ASK = auto()
    """It has expired; if it cannot have, it is to be asked for by id."""
    IGNORE = auto()
    """Nothing: the stream knows better."""


_RULES: dict[tuple[_Evidence, _Said], _Verdict] = {
    (_Evidence.EVENT, _Said.NOTHING): _Verdict.TAKE,
    (_Evidence.EVENT, _Said.CHANGED): _Verdict.TAKE,
    (_Evidence.EVENT, _Said.DELETED): _Verdict.TAKE,
    (_Evidence.DELETION, _Said.NOTHING): _Verdict.DROP,
    (_Evidence.DELETION, _Said.CHANGED): _Verdict.DROP,
    (_Evidence.DELETION, _Said.DELETED): _Verdict.DROP,
    (_Evidence.ON_PAGE, _Said.NOTHING): _Verdict.TAKE,
    (_Evidence.ON_PAGE, _Said.CHANGED): _Verdict.TAKE_IF_NEWER,
    (_Evidence.ON_PAGE, _Said.DELETED): _Verdict.IGNORE,
    (_Evidence.NOT_LISTED, _Said.NOTHING): _Verdict.ASK,
    (_Evidence.NOT_LISTED, _Said.CHANGED): _Verdict.IGNORE,
    (_Evidence.NOT_LISTED, _Said.DELETED): _Verdict.IGNORE,
    (_Evidence.NOT_FOUND, _Said.NOTHING): _Verdict.DROP,
    (_Evidence.NOT_FOUND, _Said.CHANGED): _Verdict.IGNORE,
    (_Evidence.NOT_FOUND, _Said.DELETED): _Verdict.IGNORE,
}


@dataclass(frozen=True, slots=True)
class Listed:
    """What a whole list says by what is not on it.

    Attributes:
      expired: The ids that are no longer known, since their dispatches have ended.
      missing: The ids to be asked for, and then to be passed to `Mirror.confirm`.
      doubtful: Whether the list may have skipped a dispatch that is not known, and has to be read
        again.
      short: Whether its pages had fewer dispatches than the service counted.  A row was skipped,
        if the service counts correctly.
    """

    expired: tuple[int, ...]
    missing: tuple[int, ...]
    doubtful: bool = False
    short: bool = False


class Mirror:
    """What exists at a service, as far as is known.

    Attributes:
      dispatches: The known dispatches that are neither deleted nor expired, by id; live and
        read-only.
      bound: The bound of the present list, or of the last one; None before the first.
    """

    def __init__(self, known: Iterable[Dispatch] = ()) -> None:
        self._known = {dispatch.id: dispatch for dispatch in known}
        self.dispatches: Mapping[int, Dispatch] = MappingProxyType(self._known)
        self.bound: datetime | None = None
        self._expired: OrderedDict[int, None] = OrderedDict()
        # Known, and yet not on the service's list, according to their end or to the last list.
        self._unlisted: set[int] = set()
        # Since the present list began:
        self._said: dict[int, _Said] = {}
        self._seen: set[int] = set()
        self._undecodable: set[int] = set()
        self._nameless = 0  # undecodable dispatches without an id
        self._pages = 0
        self._counted = 0  # the most dispatches that the service counted
        self._shrunk = False
        self._unreported: set[int] = set()

    @property
    def total(self) -> int:
        """The number of dispatches that a list with the present bound should have."""
        undecodable = sum(id_ not in self._known for id_ in self._undecodable)
        return len(self._known) - len(self._unlisted) + undecodable + self._nameless

    @property
    def unreported(self) -> Collection[int]:
        """The ids that the present list changed and the stream has not mentioned since."""
        return self._unreported

    def has(self, dispatch: Dispatch | Undecodable) -> bool:
        """Whether a dispatch is known with this content, or known to be undecodable."""
        if isinstance(dispatch, Dispatch):
            return self._known.get(dispatch.id) == dispatch
        return dispatch.id in self._undecodable if dispatch.id is not None else self._nameless > 0

    # The stream.

    def changed(self, dispatch: Dispatch | Undecodable) -> list[LifecycleEvent]:
        """The stream says that a dispatch was created or updated."""
        if dispatch.id is None:
            return []
        self._unreported.discard(dispatch.id)
        if isinstance(dispatch, Undecodable):
            self._undecodable.add(dispatch.id)
            return []
        event = self._judge(_Evidence.EVENT, dispatch.id, dispatch)
        self._said[dispatch.id] = _Said.CHANGED
        self._undecodable.discard(dispatch.id)
        if self.bound is not None and self._ended_before(dispatch.id, self.bound):
            self._unlisted.add(dispatch.id)
        return [] if event is None else [event]

    def deleted(self, dispatch: Dispatch | Undecodable) -> list[LifecycleEvent]:
        """The stream says that a dispatch was deleted, of which only the id need be readable."""
        if dispatch.id is None:
            return []
        self._unreported.discard(dispatch.id)
        self._undecodable.discard(dispatch.id)
        self._shrunk = True
        last = dispatch if isinstance(dispatch, Dispatch) else None
        event = self._judge(_Evidence.DELETION, dispatch.id, last)
        self._said[dispatch.id] = _Said.DELETED
        return [] if event is None else [event]

    # The list.

    def begin_list(self, bound: datetime) -> None:
        """A list begins that leaves out what ended before `bound`."""
        self._said.clear()
        self._seen.clear()
        self._undecodable.clear()
        self._unlisted.clear()
        self._unreported.clear()
        self._nameless = 0
        self._pages = 0
        self._counted = 0
        self._shrunk = False
        self.bound = bound

    def page(
        self, dispatches: Iterable[Dispatch | Undecodable], total: int | None = None
    ) -> list[LifecycleEvent]:
        """A page of the present list has come; `total` is how many the service counted."""
        self._pages += 1
        self._counted = max(self._counted, total or 0)
        events: list[LifecycleEvent] = []
        for dispatch in dispatches:
            if dispatch.id is None:
                self._nameless += 1
                continue
            self._seen.add(dispatch.id)
            if isinstance(dispatch, Dispatch):
                event = self._judge(_Evidence.ON_PAGE, dispatch.id, dispatch)
                if event is not None:
                    events.append(event)
            elif self._said.get(dispatch.id) is not _Said.DELETED:
                self._undecodable.add(dispatch.id)
        self._unreported.update(event.dispatch.id for event in events)
        return events

    def end_list(self) -> Listed:
        """The last page of the present list has come."""
        expired: list[int] = []
        missing: list[int] = []
        if not self._nameless and self.bound is not None:
            # The quickest way through many dispatches, nearly all of which were seen.
            for id_ in filterfalse(self._seen.__contains__, self._known):
                if self._verdict(_Evidence.NOT_LISTED, id_) is _Verdict.ASK:
                    (expired if self._ended_before(id_, self.bound) else missing).append(id_)
        for id_ in expired:
            del self._known[id_]
            self._expired[id_] = None
            if len(self._expired) > EXPIRED_LIMIT:
                self._expired.popitem(last=False)
        doubtful = self._pages > 1 and self._shrunk
        short = self._pages > 1 and len(self._seen) + self._nameless < self._counted
        return Listed(tuple(sorted(expired)), tuple(sorted(missing)), doubtful, short)

    def confirm(
        self, missing: Iterable[int], found: Iterable[Dispatch | Undecodable]
    ) -> list[LifecycleEvent]:
        """The answer to what was asked for by id has come; what is not in it is deleted."""
        events = self.page(found)
        for id_ in missing:
            if id_ in self._seen:
                if id_ in self._known:
                    self._unlisted.add(id_)
            elif not self._nameless:
                dropped = self._judge(_Evidence.NOT_FOUND, id_, None)
                if dropped is not None:
                    self._unreported.add(id_)
                    events.append(dropped)
        return events

    # What evidence means.

    def _verdict(self, evidence: _Evidence, id_: int) -> _Verdict:
        return _RULES[evidence, self._said.get(id_, _Said.NOTHING)]

    def _judge(
        self, evidence: _Evidence, id_: int, dispatch: Dispatch | None
    ) -> LifecycleEvent | None:
        verdict = self._verdict(evidence, id_)
        if verdict is _Verdict.DROP:
            return self._drop(id_, dispatch)
        if dispatch is not None:
            if verdict is _Verdict.TAKE:
                return self._take(dispatch)
            if verdict is _Verdict.TAKE_IF_NEWER:
                known = self._known.get(id_)
                if known is None or dispatch.newer_than(known):
                    return self._take(dispatch)
        return None

    def _take(self, dispatch: Dispatch) -> LifecycleEvent | None:
        known = self._known.get(dispatch.id)
        if known is not None and known == dispatch:
            return None
        self._known[dispatch.id] = dispatch
        self._unlisted.discard(dispatch.id)
        if known is None and dispatch.id not in self._expired:
            return Created(dispatch)
        self._expired.pop(dispatch.id, None)
        return Updated(dispatch, known)

    def _drop(self, id_: int, last: Dispatch | None) -> LifecycleEvent | None:
        known = self._known.pop(id_, None)
        has_expired = id_ in self._expired
        self._expired.pop(id_, None)
        self._unlisted.discard(id_)
        content = last or known
        if content is None or (known is None and not has_expired):
            return None
        return Deleted(replace(content, deleted=True), known)

    def _ended_before(self, id_: int, bound: datetime) -> bool:
        end = self._known[id_].last_end()
        return end is not None and end <= bound
