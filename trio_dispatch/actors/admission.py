"""Which of the dispatches that are due are given to actors, and with which target and payload.

A dispatch that is due is refused if it is a dry run, if it is for other components, if its payload
is invalid, or if the merge strategy gives it no identity.  Each refusal is logged once a run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from .. import clock
from ..model.dispatch import Dispatch
from ..model.formatting import format_ranges, format_target
from ..model.payload import JSON
from ..model.target import TargetIds
from .merge import MergeByComponent
from .messages import with_content
from .options import ActorOptions, name_of
from .registry import RunInfo
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
    """A dispatch is not run; the argument says why."""

    def __init__(
        self, reason: str, *, level: int = logging.INFO, bug: Exception | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.level = level
        self.bug = bug  # an error in the program, as opposed to the dispatch


@dataclass(slots=True)
class _Record(Generic[P]):
    """What is remembered of a dispatch while it is due."""

    valid: tuple[Mapping[str, JSON], P] | None = None  # the last valid payload, and its value
    said: set[str] = field(default_factory=set)  # what was logged
    refusal: RunInfo | None = None


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
            text = f"not run: {refused.reason}"
            self._say(dispatch, record, refused.level, text, refused.bug)
            since = clock.now() if record.refusal is None else record.refusal.since
            record.refusal = self._info(dispatch, since, refused)
            record.valid = None
            return None
        record.refusal = None
        return admitted

    def admit_orphan(self, orphan: Dispatch) -> Dispatch | None:
        """Admit what a crashed process left running, with the target that is of this process."""
        record: _Record[P] = _Record()
        try:
            return self._narrow(orphan, record)
        except _RefusedError as refused:
            self._say(orphan, record, refused.level, f"not handed to on_orphan: {refused.reason}")
            return None

    def forget(self, id_: int) -> None:
        """A dispatch is no longer due."""
        self._records.pop(id_, None)

    def _info(self, dispatch: Dispatch, since: datetime, refused: _RefusedError) -> RunInfo:
        cause = refused.__cause__
        return RunInfo(
            dispatch,
            None,
            self._actor_name,
            None,
            since,
            error=cause if isinstance(cause, Exception) else None,
            refusal=refused.reason,
        )

    def _say(
        self,
        dispatch: Dispatch,
        record: _Record[P],
        level: int,
        text: str,
        error: Exception | None = None,
    ) -> None:
        if text not in record.said:
            record.said.add(text)
            where = f"microgrid {self._options.microgrid_id}, dispatch {dispatch.id}"
            log.log(level, "%s: %s", where, text, exc_info=error)

    def _check(self, dispatch: Dispatch, record: _Record[P]) -> Admitted[P]:
        dispatch = self._narrow(dispatch, record)
        dispatch, payload = self._parse(dispatch, record)
        identities = self._identities(dispatch)
        priority = self._ask(self._options.priority, dispatch)
        return Admitted(dispatch, payload, identities, priority)

    def _ask(self, function: Callable[[A], T], argument: A) -> T:
        """Call a function of the program; its error is raised, or refuses the dispatch."""
        try:
            return function(argument)
        except Exception as error:
            if self._options.on_error == "raise":
                raise
            raise _RefusedError(
                f"{name_of(function)} failed: {_said(error)}", level=logging.ERROR, bug=error
            ) from error

    def _parse(self, dispatch: Dispatch, record: _Record[P]) -> tuple[Dispatch, P]:
        """Parse the payload; a dispatch with an invalid one may keep the one before."""
        valid = record.valid
        if valid is not None and valid[0] == dispatch.payload:
            return dispatch, valid[1]
        try:
            payload = self._options.parse(dispatch.payload)
        except Exception as error:
            if valid is None or self._options.on_invalid == "stop":
                raise _RefusedError(
                    f"its payload is invalid: {_said(error)}", level=logging.ERROR
                ) from error
            text = f"its new payload is invalid, the last valid one is kept: {_said(error)}"
            self._say(dispatch, record, logging.ERROR, text)
            return with_content(dispatch, dispatch.target, valid[0]), valid[1]
        record.valid = dispatch.payload, payload
        return dispatch, payload

    def _narrow(self, dispatch: Dispatch, record: _Record[P]) -> Dispatch:
        """Refuse dry runs, and limit the target to the components of this process."""
        if dispatch.dry_run and not self._options.dry_runs:
            raise _RefusedError(
                "it is a dry run; run_actors(..., dry_runs=True) hands it to the actor"
            )
        target = dispatch.target
        merge = self._options.merge
        if isinstance(merge, MergeByComponent):
            named = target if isinstance(target, TargetIds) else TargetIds()
            target = TargetIds(*self._ask(merge.resolve, target))
        elif self._options.targets is None:
            return dispatch
        elif isinstance(target, TargetIds):
            named = target
        else:
            raise _RefusedError(
                f"its target {format_target(target)} cannot be resolved to components; "
                "give merge=MergeByComponent(components)",
                level=logging.WARNING,
            )
        named = TargetIds(*named, *target)
        if self._options.targets is not None:
            target = TargetIds(*target & self._options.targets)
        if not target:
            raise _RefusedError(
                f"its target {format_target(dispatch.target)} contains no component of this process"
            )
        if len(target) < len(named):
            text = f"components {format_ranges(named - target)} ignored: not of this process"
            self._say(dispatch, record, logging.INFO, text)
        return with_content(dispatch, target, dispatch.payload)

    def _identities(self, dispatch: Dispatch) -> AbstractSet[Hashable] | None:
        merge = self._options.merge
        if merge is None:
            return None
        identities = self._ask(merge.identities, dispatch)
        if not isinstance(identities, AbstractSet):
            text = f"{name_of(merge.identities)} returned {identities!r}, which is not a set"
            raise _RefusedError(text, level=logging.ERROR)
        if not identities:
            raise _RefusedError(f"{name_of(merge.identities)} returned no identity")
        return identities


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
