"""What a process that died has left running, as other actors see it: they wait for its end."""

from __future__ import annotations

from collections.abc import Iterable

import trio

from ..model.dispatch import Dispatch
from .run import ActorRun
from .tasks import Leaving, Life

PATIENCE = 10.0
"""Seconds for which others wait for somebody to see to it."""

_NAME = "what a process that died has left running"


class Unattended:
    """The orphans that nobody has seen to yet.

    Attributes:
      leaving: What actors wait for if they act on the same components; the orphans among it.
    """

    def __init__(self) -> None:
        self.leaving = Leaving()
        self._lives: dict[int, Life] = {}

    def add(self, orphans: Iterable[Dispatch], microgrid_id: int) -> None:
        """Have others wait for these, from now on."""
        for orphan in orphans:
            run = ActorRun(
                orphan, None, name=_NAME, microgrid_id=microgrid_id, grace=PATIENCE, once=True
            )
            run._cancelled_at = trio.current_time()
            life = Life(_NAME, _nobody, run, task=_NAME, exited=lambda _: None)
            self._lives[orphan.id] = life
            self.leaving.add(life, orphan.target)

    def release(self, id_: int) -> None:
        """Somebody has seen to it, or nobody will."""
        life = self._lives.pop(id_, None)
        if life is not None:
            self.leaving.discard(life)
            life.gone.set()

    async def lose_patience(self) -> None:
        """Release all that is there, when its time has come."""
        await trio.sleep(PATIENCE)
        for id_ in list(self._lives):
            self.release(id_)


async def _nobody(_: ActorRun) -> None:
    """There is no actor."""
