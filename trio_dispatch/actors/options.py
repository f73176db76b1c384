"""How actors are run: the arguments of `Dispatcher.run_actors`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Generic, Literal

from ..model.arbitration import Priority
from ..model.dispatch import Dispatch
from ..model.payload import JSON, Payload
from ..model.target import TargetIds
from .merge import MergeStrategy
from .reporting import PutReport, ignore
from .run import ActorRun, P

__all__ = ["Actor", "ActorOptions", "OnOrphan", "name_of", "parser", "types_of", "unparsed"]

Actor = Callable[[ActorRun[P]], Awaitable[object]]
"""An async function that acts on a run until it returns or is cancelled."""

OnOrphan = Callable[[Dispatch], Awaitable[object]]
"""An async function that stops what a crashed process left running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorOptions(Generic[P]):
    """How actors are run, see `Dispatcher.run_actors`.

    Raises:
      ValueError: an option is invalid; the message names it.
    """

    microgrid_id: int
    types: frozenset[str] | None
    actor: Actor[P]
    parse: Callable[[Mapping[str, JSON]], P]
    on_invalid: Literal["keep", "stop"]
    targets: TargetIds | None
    dry_runs: bool
    merge: MergeStrategy | None
    priority: Priority
    grace: timedelta
    on_error: Literal["restart", "raise"]
    on_orphan: OnOrphan | None
    report: PutReport = ignore

    def serves(self, type: str) -> bool:
        """Whether dispatches of a type are served."""
        return self.types is None or type in self.types

    def __post_init__(self) -> None:
        if self.types is not None and not (
            self.types and all(isinstance(each, str) for each in self.types)
        ):
            raise ValueError(
                f"type {set(self.types)!r} is not a type of dispatches: give a str, several, or "
                "None for all"
            )
        if not callable(self.actor):
            raise ValueError(f"actor {self.actor!r} is not an async function of an ActorRun")
        if self.on_orphan is not None and not callable(self.on_orphan):
            raise ValueError(f"on_orphan {self.on_orphan!r} is not an async function of a Dispatch")
        if not callable(self.priority):
            raise ValueError(f"priority {self.priority!r} is not a function of a Dispatch")
        if self.targets is not None and not isinstance(self.targets, TargetIds):
            raise ValueError(f"targets {self.targets!r} is not a TargetIds: give TargetIds(1, 2)")
        if self.merge is not None and (
            isinstance(self.merge, type) or not hasattr(self.merge, "identities")
        ):
            raise ValueError(
                f"merge {self.merge!r} is not a merge strategy: give None, MergeByType(), "
                "MergeByTypeTarget(), MergeByComponent(components), or an object with a method "
                "identities(dispatch)"
            )
        if self.grace < timedelta():
            raise ValueError(f"grace {self.grace} is negative")
        if self.on_error not in {"restart", "raise"}:
            raise ValueError(f"on_error {self.on_error!r} is neither 'restart' nor 'raise'")
        if self.on_invalid not in {"keep", "stop"}:
            raise ValueError(f"on_invalid {self.on_invalid!r} is neither 'keep' nor 'stop'")


def types_of(type: str | Iterable[str] | None) -> frozenset[str] | None:
    """Return the types that an argument names; None for all."""
    return type if type is None else frozenset([type] if isinstance(type, str) else type)


def unparsed(payload: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """Return the payload as it is."""
    return payload


def parser(function: Callable[[dict[str, Any]], P]) -> Callable[[Mapping[str, JSON]], P]:
    """Return a function that parses a payload with one that takes a plain dict.

    Raises:
      ValueError: the function is not callable.
    """
    if not callable(function):
        raise ValueError(f"payload {function!r} is not a function of a dict")
    return lambda payload: function(Payload(payload).to_dict())


def name_of(function: Callable[..., object]) -> str:
    """Return the qualified name of a function, for the log and the names of tasks."""
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
