"""Whether what is known agrees with one small page of the service's list.

The page has the dispatch that was updated last, and the total.  A change that the stream did not
deliver shows in one of them: what was created or updated is the last updated dispatch, and a
deletion changes the total.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..client.client import Page
from ..model.dispatch import Dispatch
from ..model.events import LifecycleEvent
from ..model.undecodable import Undecodable
from .mirror import Mirror

__all__ = ["Comparison"]


class Comparison:
    """Compares a page with everything that the mirror has shown since the page was asked for.

    While the page is on its way the mirror moves on, and the page may agree with any of its states.
    """

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._totals = {mirror.total}
        self._changed: set[int] = set()

    def add(self, events: Iterable[LifecycleEvent]) -> None:
        """The mirror has changed."""
        self._totals.add(self._mirror.total)
        self._changed.update(event.dispatch.id for event in events)

    def explains(self, page: Page) -> bool:
        """Whether the mirror agrees with the page, or did while the page was on its way."""
        found: tuple[Dispatch | Undecodable, ...] = (*page.dispatches, *page.undecodable)
        return page.total in self._totals and all(
            last_updated.id in self._changed or self._mirror.has(last_updated)
            for last_updated in found[:1]
        )
