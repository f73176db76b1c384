"""The rows of a picture: by type, by target, or by component."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

from ..model.arbitration import Priority, equal_priority
from ..model.dispatch import Dispatch
from ..model.expansion import Components, component_resolver
from ..model.formatting import format_target
from ..model.target import Target, TargetIds
from .actual import ActualRun
from .words import clean

__all__ = ["BY_TYPE", "By", "Grouping"]

By = Literal["type", "target", "component"]


def _ids(target: Target | None) -> frozenset[int]:
    """Return the components of a target by ids."""
    return target if isinstance(target, TargetIds) else frozenset()


@dataclass(frozen=True, slots=True)
class Grouping:
    """What the rows of a picture are.

    Attributes:
      by: What the dispatches of a row have in common.
      resolve: Returns the components of a target, for rows by component.
      priority: The priority of a dispatch, which decides what drives a component.
    """

    by: By = "type"
    resolve: Callable[[Target | None], frozenset[int]] = _ids
    priority: Priority = equal_priority

    @classmethod
    def by_component(
        cls, components: Components | None = None, priority: Priority = equal_priority
    ) -> Self:
        """Return the grouping by component; without `components`, only targets by id count."""
        resolve = _ids if components is None else component_resolver(components)
        return cls("component", resolve, priority)

    def labels(self, dispatch: Dispatch) -> list[str]:
        """Return the labels of the rows that a dispatch is in."""
        kind = " actual" if isinstance(dispatch, ActualRun) else ""
        if self.by == "component":
            return [f"component {id_}{kind}" for id_ in self.resolve(dispatch.target)]
        label = clean(dispatch.type) if self.by == "type" else target_label(dispatch)
        return [f"{label}{kind}"]

    def caption(self, dispatch: Dispatch) -> str:
        """Return what is written on a bar: what the label of the row does not say."""
        return target_label(dispatch) if self.by == "type" else clean(dispatch.type)


BY_TYPE = Grouping()


def target_label(dispatch: Dispatch) -> str:
    """Return what a picture calls the target of a dispatch."""
    return format_target(dispatch.target) or "no target"
