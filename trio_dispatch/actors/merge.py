"""How dispatches share an actor: strategies that say which of them belong together."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from ..model.dispatch import Dispatch

__all__ = ["MergeByType", "MergeByTypeTarget", "MergeStrategy"]


class MergeStrategy(Protocol):
    """Says which dispatches share an actor: those with equal identities.

    A strategy of one's own is one small class::

        class MergeByZone:
            def identity(self, dispatch):
                return dispatch.payload.get("zone"), dispatch.dry_run

    See `Dispatcher.run_actors` for what it means to share one.
    """

    def identity(self, dispatch: Dispatch) -> Hashable:
        """What a dispatch has in common with those that it shares an actor with.

        It is compared as it is, not by its hash alone.  It may depend on anything in the dispatch:
        a change that changes it moves the dispatch from one actor to another.  Called often: it
        has to be quick, to give the same for the same content, and not to wait.
        """


class MergeByType:
    """One actor for all dispatches of the type, and another one for its dry runs."""

    def identity(self, dispatch: Dispatch) -> Hashable:
        """The type, and whether it is a dry run."""
        return dispatch.type, dispatch.dry_run


class MergeByTypeTarget:
    """One actor for all dispatches of the type with the same target, and one for its dry runs.

    Targets are the same if they name the same components or the same categories; targets that only
    overlap are not.
    """

    def identity(self, dispatch: Dispatch) -> Hashable:
        """The type, the target, and whether it is a dry run."""
        # Of both kinds of targets, an empty one equals any empty set.
        target = dispatch.target
        return dispatch.type, target.__class__, target, dispatch.dry_run
