"""Which of the dispatches that are due are given to actors, and with which target and payload.

A dispatch that is due is refused if it is a dry run, if it is for other components, if its payload
is invalid, or if the merge strategy gives it no identity.  Each refusal is logged once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from .. import clock
from ..model.dispatch import Dispatch
from ..model.formatting import format_ranges, format_target
from ..model.payload import JSON
from ..model.runs import ReportKind
from ..model.target import TargetIds
from .merge import MergeByComponent, component_identities
from .messages import moment_of
from .options import ActorOptions, name_of
from .registry import RunInfo
from .reporting import report_of
from .run import P

A = TypeVar("A")
T = TypeVar("T")

log = logging.getLogger("trio_dispatch.actors")


@dataclass(frozen=True, slots=True)
class Admitted(Generic[P]):
    """A dispatch that is given to actors.

    Attributes:
      dispatch: Its target contains only components of this process, its payload is valid.
      payload: The parsed payload.
      identities: What it has in common with other dispatches; None without a merge strategy.
      priority: See `trio_dispatch.model.arbitration`.
    """

    dispatch: Dispatch
    payload: P
    identities: AbstractSet[Hashable] | None
    priority: float


class _RefusedError(Exception):
    """A dispatch is not run; the argument says why.

    Attributes:
      level: How it is logged.
      error: The error for which it is refused.
      is_bug: Whether that is an error of the program, as opposed to the dispatch.
      kind: How it is reported; None if it is not for this process.
    """

    def __init__(
        self,
        reason: str,
        *,
        level: int = logging.INFO,
        error: Exception | None = None,
        is_bug: bool = False,
        kind: ReportKind | None = ReportKind.REJECTED,
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.level = level
        self.error = error
        self.is_bug = is_bug


@dataclass(slots=True)
class _Record(Generic[P]):
    """What is remembered of a dispatch while it is due."""

    valid: tuple[Mapping[str, JSON], P] | None = None  # the last valid payload, and its value
    refusal: RunInfo | None = None
    reported: tuple[datetime | None, str] | None = None  # the refusal of which run, and why
    note: str = ""  # the last one that was logged


class Admission(Generic[P]):
    """Admits and refuses the dispatches of one call of `Dispatcher.run_actors`.  Knows no tasks."""

    def __init__(self, options: ActorOptions[P], actor_name: str) -> None:
        self._options = options
        self._actor_name = actor_name
        self._records: dict[int, _Record[P]] = {}

    def __iter__(self) -> Iterator[RunInfo]:
        """Iterate over what is due and refused."""
        for record in self._records.values():
            if record.refusal is not None:
                yield record.refusal

    def admit(self, dispatch: Dispatch) -> Admitted[P] | None:
        """Admit a dispatch that runs, or whose pulse is due; returns None if it is refused."""
        record = self._records.setdefault(dispatch.id, _Record())
        try:
            admitted = self._check(dispatch, record)
        except _RefusedError as refused:
            before, record.refusal = record.refusal, self._refusal(dispatch, refused)
            record.valid = None
            if before is None or before.refusal != record.refusal.refusal:
                self._log(dispatch, "not run", refused)
            self._report(dispatch, record, refused)
            return None
        record.refusal = record.reported = None
        return admitted

    def admit_orphan(self, orphan: Dispatch) -> Dispatch | None:
        """Admit what a crashed process left running, with the target that is of this process."""
        try:
            return self._narrow(orphan, _Record())
        except _RefusedError as refused:
            self._log(orphan, "not handed to on_orphan", refused)
            return None

    def forget(self, id_: int) -> None:
        """A dispatch is no longer due."""
        self._records.pop(id_, None)

    def _refusal(self, dispatch: Dispatch, refused: _RefusedError) -> RunInfo:
        return RunInfo(
            dispatch,
            None,
            self._actor_name,
            None,
            clock.now(),
            error=refused.error,
            refusal=str(refused),
        )

    def _report(self, dispatch: Dispatch, record: _Record[P], refused: _RefusedError) -> None:
        """Report that a run is refused, unless that was the last report about it."""
        start = dispatch.pulse or dispatch.run_at(moment_of(dispatch))
        if refused.kind is None or start is None or record.reported == (start, str(refused)):
            return
        record.reported = start, str(refused)
        self._options.report(
            report_of(
                refused.kind,
                dispatch,
                start,
                clock.now(),
                actor=self._actor_name,
                until=dispatch.end_of(start),
                error=str(refused),
            )
        )

    def _log(self, dispatch: Dispatch, what: str, refused: _RefusedError) -> None:
        traceback = refused.error if refused.is_bug else None
        where = f"microgrid {self._options.microgrid_id}, dispatch {dispatch.id}"
        log.log(refused.level, "%s: %s: %s", where, what, refused, exc_info=traceback)

    def _note(self, dispatch: Dispatch, record: _Record[P], level: int, note: str) -> None:
        """Log something about a dispatch that is run, unless it was the last that was logged."""
        if note != record.note:
            record.note = note
            where = f"microgrid {self._options.microgrid_id}, dispatch {dispatch.id}"
            log.log(level, "%s: %s", where, note)

    def _check(self, dispatch: Dispatch, record: _Record[P]) -> Admitted[P]:
        dispatch = self._narrow(dispatch, record)
        dispatch, payload = self._parse(dispatch, record)
        identities = self._identities(dispatch)
        priority = self._ask(self._options.priority, dispatch)
        if not isinstance(priority, int | float) or math.isnan(priority):
            raise self._bug(
                self._options.priority, TypeError(f"{priority!r} is not a priority: give a number")
            )
        return Admitted(dispatch, payload, identities, priority)

    def _ask(self, function: Callable[[A], T], argument: A) -> T:
        """Call a function of the program."""
        try:
            return function(argument)
        except Exception as error:
            raise self._bug(function, error) from error

    def _bug(self, function: Callable[[A], T], error: Exception) -> _RefusedError:
        """Raise an error of the program, or return the refusal that it causes."""
        if self._options.on_error == "raise":
            raise error
        reason = f"{name_of(function)} failed: {_described(error)}"
        return _RefusedError(reason, level=logging.ERROR, error=error, is_bug=True)

    def _parse(self, dispatch: Dispatch, record: _Record[P]) -> tuple[Dispatch, P]:
        """Parse the payload; a dispatch with an invalid one may keep the one before."""
        valid = record.valid
        if valid is not None and valid[0] == dispatch.payload:
            return dispatch, valid[1]
        try:
            payload = self._options.parse(dispatch.payload)
        except Exception as error:
            if valid is None or self._options.on_invalid == "stop":
                reason = f"its payload is invalid: {_described(error)}"
                raise _RefusedError(reason, level=logging.ERROR, error=error) from error
            note = f"its new payload is invalid, the last valid one is kept: {_described(error)}"
            self._note(dispatch, record, logging.ERROR, note)
            return dispatch.with_content(dispatch.target, valid[0]), valid[1]
        record.valid = dispatch.payload, payload
        return dispatch, payload

    def _narrow(self, dispatch: Dispatch, record: _Record[P]) -> Dispatch:
        """Refuse dry runs, and limit the target to the components of this process."""
        if dispatch.dry_run and not self._options.dry_runs:
            raise _RefusedError(
                "it is a dry run; run_actors(..., dry_runs=True) hands it to the actor",
                kind=ReportKind.SKIPPED,
            )
        merge, mine, target = self._options.merge, self._options.targets, dispatch.target
        kept: frozenset[int]
        if isinstance(merge, MergeByComponent):
            kept = self._ask(merge.resolve, target)
        elif mine is None:
            return dispatch
        elif isinstance(target, TargetIds):
            kept = target
        else:
            raise _RefusedError(
                f"its target {format_target(target)} cannot be resolved to components; "
                "give merge=MergeByComponent(components)",
                level=logging.WARNING,
            )
        if mine is not None:
            kept &= mine
        if not kept:
            raise _RefusedError(
                f"its target {format_target(target)} contains no component of this process",
                kind=None,
            )
        if kept == target:
            return dispatch
        if isinstance(target, TargetIds) and (others := target - kept):
            note = f"components {format_ranges(others)} ignored: not of this process"
            self._note(dispatch, record, logging.INFO, note)
        return dispatch.with_content(TargetIds(*kept), dispatch.payload)

    def _identities(self, dispatch: Dispatch) -> AbstractSet[Hashable] | None:
        merge = self._options.merge
        if merge is None:
            return None
        if isinstance(merge, MergeByComponent) and isinstance(dispatch.target, TargetIds):
            # The target has been resolved, and limited to this process.
            return component_identities(dispatch.target, dispatch.dry_run)
        identities = self._ask(merge.identities, dispatch)
        if not isinstance(identities, AbstractSet):
            error = TypeError(f"it returned {identities!r}, which is not a set")
            raise self._bug(merge.identities, error)
        if not identities:
            raise _RefusedError(f"{name_of(merge.identities)} returned no identity")
        return identities


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
