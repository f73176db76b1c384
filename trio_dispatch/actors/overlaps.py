"""Which targets overlap: finds those that may share a component with one, among many."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from ..model.target import Target, TargetIds

H = TypeVar("H", bound=Hashable)


class Overlaps(Generic[H]):
    """Things with targets, to be found by a target that overlaps theirs; in the order they came.

    Targets by ids overlap if they share one.  A target by category may share a component with any
    other, and so may an unknown one.
    """

    def __init__(self) -> None:
        # Dicts for their order.
        self._targets: dict[H, Target | None] = {}
        self._by_id: dict[int, dict[H, None]] = {}
        self._elsewhere: dict[H, None] = {}

    def __contains__(self, thing: H) -> bool:
        return thing in self._targets

    def add(self, thing: H, target: Target | None) -> None:
        """Add something that acts on a target."""
        self._targets[thing] = target
        if isinstance(target, TargetIds):
            for id_ in target:
                self._by_id.setdefault(id_, {})[thing] = None
        else:
            self._elsewhere[thing] = None

    def discard(self, thing: H) -> None:
        """Remove it, if it is there."""
        target = self._targets.pop(thing, None)
        self._elsewhere.pop(thing, None)
        if isinstance(target, TargetIds):
            for id_ in target:
                del self._by_id[id_][thing]
                if not self._by_id[id_]:
                    del self._by_id[id_]

    def with_target(self, target: Target | None) -> Iterator[H]:
        """All whose targets overlap this one, each once."""
        if not isinstance(target, TargetIds):
            yield from self._targets
            return
        found = dict(self._elsewhere)
        for id_ in target:
            found |= self._by_id.get(id_, {})
        yield from found
