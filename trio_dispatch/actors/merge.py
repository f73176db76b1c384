"""How dispatches share an actor: strategies that say which of them belong together."""

from __future__ import annotations

from collections.abc import Hashable
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import NamedTuple, Protocol

from ..model.dispatch import Dispatch
from ..model.expansion import Components, component_resolver

__all__ = [
    "ComponentIdentity",
    "MergeByComponent",
    "MergeByType",
    "MergeByTypeTarget",
    "MergeStrategy",
    "component_identities",
]


class MergeStrategy(Protocol):
    """Says which dispatches share an actor: those with an identity in common.

    A strategy is one small class::

        class MergeByZone:
            def identities(self, dispatch):
                return {(dispatch.payload["zone"], dispatch.dry_run)}

    See `Dispatcher.run_actors` for what it means to share an actor.
    """

    def identities(self, dispatch: Dispatch) -> AbstractSet[Hashable]:
        """Return the identities of a dispatch: it is a member of one group for each.

        Identities are compared by value.  They may depend on anything in the dispatch; an update
        that changes them moves the dispatch from one actor to another.  This method is called
        often: it must be quick, must not wait, and must return the same for the same content.
        """


class MergeByType:
    """One actor for all dispatches of the type, and another one for its dry runs."""

    def identities(self, dispatch: Dispatch) -> AbstractSet[Hashable]:
        """The type, and whether it is a dry run."""
        return {(dispatch.type, dispatch.dry_run)}


class MergeByTypeTarget:
    """One actor for all dispatches of the type with the same target, and one for its dry runs.

    Targets are the same if they name the same components or the same categories.  Targets that only
    overlap are different: their actors drive the same component.  See `MergeByComponent`.
    """

    def identities(self, dispatch: Dispatch) -> AbstractSet[Hashable]:
        """The type, the target, and whether it is a dry run."""
        # The two kinds of targets are equal when both are empty.
        target = dispatch.target
        return {(dispatch.type, target.__class__, target, dispatch.dry_run)}


class ComponentIdentity(NamedTuple):
    """The identity of the dispatches that drive one component."""

    component: int
    dry_run: bool

    def __str__(self) -> str:
        return f"component {self.component}" + self.dry_run * ", dry run"


class MergeByComponent:
    """One actor for each component, and another one for its dry runs.

    Each dispatch is expanded to the components of its target, and is a member of one group for each
    of them.  `ActorRun.component` is the id of the actor's component.  So two dispatches with
    overlapping targets never drive one component at the same time, and a component is switched off
    only when the last dispatch for it ends.  If `run_actors` serves several types, this holds for
    dispatches of different types, too.

    Args:
      components: What the components are: a mapping from ids to categories or types, or a function
        from a target to ids::

            MergeByComponent({7: BatteryType.LI_ION, 8: ElectricalComponentCategory.BATTERY})

        A component that is not in the mapping is not driven.

    Raises:
      ValueError: the mapping has an invalid id, or a value that is no category or type.
    """

    def __init__(self, components: Components) -> None:
        self.resolve = component_resolver(components)

    def identities(self, dispatch: Dispatch) -> AbstractSet[Hashable]:
        """For each component: the component, and whether it is a dry run."""
        return component_identities(self.resolve(dispatch.target), dispatch.dry_run)


@lru_cache(maxsize=1024)
def component_identities(components: frozenset[int], dry_run: bool) -> AbstractSet[Hashable]:
    """Return the identities of a dispatch that is for these components."""
    return frozenset(ComponentIdentity(component, dry_run) for component in components)
