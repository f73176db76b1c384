"""An index of things by their targets: finds those that overlap a target, among many."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from ..model.target import Target, TargetIds

H = TypeVar("H", bound=Hashable)


class TargetIndex(Generic[H]):
    """Things and the targets they act on, in the order in which they were added.

    Two targets by ids overlap if they share an id.  A target by category may mean any component,
    so it overlaps every other target; so does an unknown target (None).
    """

    def __init__(self) -> None:
        # Dicts, because they keep their order.
        self._targets: dict[H, Target | None] = {}
        self._by_id: dict[int, dict[H, None]] = {}
        self._anywhere: dict[H, None] = {}

    def __contains__(self, thing: H) -> bool:
        return thing in self._targets

    def target_of(self, thing: H) -> Target | None:
        """Return the target of a thing; None if it is unknown, or the thing not in the index."""
        return self._targets.get(thing)

    def add(self, thing: H, target: Target | None) -> None:
        """Add a thing, or change the target of one that was added before."""
        self.discard(thing)
        self._targets[thing] = target
        if isinstance(target, TargetIds):
            for id_ in target:
                self._by_id.setdefault(id_, {})[thing] = None
        else:
            self._anywhere[thing] = None

    def discard(self, thing: H) -> None:
        """Remove a thing if it is in the index."""
        target = self._targets.pop(thing, None)
        self._anywhere.pop(thing, None)
        if isinstance(target, TargetIds):
            for id_ in target:
                del self._by_id[id_][thing]
                if not self._by_id[id_]:
                    del self._by_id[id_]

    def with_target(self, target: Target | None) -> Iterator[H]:
        """Yield every thing whose target overlaps this one, once."""
        if not isinstance(target, TargetIds):
            yield from self._targets
            return
        found = dict(self._anywhere)
        for id_ in target:
            found |= self._by_id.get(id_, {})
        yield from found
