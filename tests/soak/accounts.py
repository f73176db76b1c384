"""Compares what the plan demands, what the actors saw, and what the service has recorded."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import trio

from tests.helpers.witness import Key, Seen, Witness, key_of
from tests.soak.plan import Ledger
from trio_dispatch import DispatchClient, ServiceError
from trio_dispatch.model.runs import ReportedRun, ReportedState

__all__ = ["Accounts", "Margins", "Observed"]


class Observed(Protocol):
    """A dispatcher, and what it saw."""

    name: str
    microgrid_id: int
    witness: Witness


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """How long things take at most in a soak.

    Attributes:
      lag: Until a run is over and reported, after it was due.
      settled: Until a run that has ended will not go on, because its process was restarted.
      known: Until every dispatcher has heard of a change, those included that are down.
    """

    lag: timedelta
    settled: timedelta
    known: timedelta


@dataclass
class Accounts:
    """The accounts of all runs of one soak, of which those that are in order are forgotten.

    Attributes:
      counts: How many runs were planned, started, stopped, recorded, and missed.
    """

    client: DispatchClient
    ledgers: Mapping[int, Ledger]
    observed: Sequence[Observed]
    margins: Margins
    counts: Counter[str] = field(default_factory=Counter)

    async def close(
        self, begin: datetime, end: datetime, now: datetime, *, served_until: datetime
    ) -> list[str]:
        """Compare the runs that were due in a time range; return what is wrong.

        Args:
          served_until: The dispatchers ended then, so that nothing is demanded from then on.
          now: Runs that had not ended long before this are left for the next time.
        """
        problems: list[str] = []
        for microgrid_id, ledger in self.ledgers.items():
            observed = [each for each in self.observed if each.microgrid_id == microgrid_id]
            ripe = {
                each.name: [*_ripe(each.witness, end, now - self.margins.settled)]
                for each in observed
            }
            early = {key[0] for keys in ripe.values() for key in keys if key[1] < begin}
            runs = await self._runs(microgrid_id, start_from=begin, start_to=end)
            if early:
                for name, some in (await self._runs(microgrid_id, ids=early)).items():
                    # Those of the time range are there already, and later ones come later.
                    runs[name] |= {key: run for key, run in some.items() if key[1] < begin}
            demanded = {
                *ledger.demanded(
                    begin,
                    min(end, served_until),
                    before=self.margins.known,
                    after=self.margins.known,
                )
            }
            for each in observed:
                of_it = runs[each.name]
                found = [
                    *each.witness.problems(
                        ripe[each.name], _window(of_it, begin, ripe[each.name]), now
                    )
                ]
                found += self._planned(ledger, demanded, each.witness, of_it, begin)
                problems += [f"{each.name}, microgrid {microgrid_id}: {text}" for text in found]
                self._count(of_it.values(), ripe[each.name], each.witness)
                for key in ripe[each.name]:
                    del each.witness.seen[key]
            ledger.forget(begin - self.margins.lag)
        return problems

    async def _runs(
        self, microgrid_id: int, **filters: object
    ) -> defaultdict[str, dict[Key, ReportedRun]]:
        """Return what the service has recorded, by dispatcher; wait for the service if need be."""
        while True:
            runs: defaultdict[str, dict[Key, ReportedRun]] = defaultdict(dict)
            pages = self.client.list_runs(microgrid_id, page_size=1000, **filters)  # type: ignore[arg-type]
            try:
                async for page in pages:
                    for run in page:
                        runs[run.dispatcher][key_of(run)] = run
            except ServiceError:
                await trio.sleep(10)
            else:
                return runs

    def _planned(
        self,
        ledger: Ledger,
        demanded: Iterable[tuple[int, datetime]],
        witness: Witness,
        runs: Mapping[Key, ReportedRun],
        begin: datetime,
    ) -> Iterator[str]:
        """Compare the runs with the plan: none is lacking, and none is too many."""
        for id_, start in demanded:
            self.counts["planned"] += 1
            run = runs.get((id_, start, False))
            if run is None:
                yield f"dispatch {id_} was due at {start}: the service has no record of it"
            elif (id_, start, False) not in witness.seen and run.state is not ReportedState.MISSED:
                at_once = run.started_time == run.ended_time
                if not at_once:
                    yield f"dispatch {id_} was due at {start}: it neither ran nor was missed"
        for id_, start, _ in runs:
            if start >= begin and not ledger.permits(
                (id_, start), before=self.margins.known, after=self.margins.lag
            ):
                yield f"dispatch {id_} was not due at {start}, but was run or missed"

    def _count(self, runs: Iterable[ReportedRun], keys: Iterable[Key], witness: Witness) -> None:
        for run in runs:
            self.counts["recorded"] += 1
            self.counts["missed"] += run.state is ReportedState.MISSED
        for key in keys:
            seen = witness.seen[key]
            self.counts["started"] += key[2]
            self.counts["stopped"] += key[2] and seen.ended is not None
            self.counts["unsure"] += seen.unsure


def _ripe(witness: Witness, end: datetime, ended: datetime) -> Iterator[Key]:
    """Yield the runs that are over for good: they can be compared."""
    for key, seen in witness.seen.items():
        announced = witness.seen.get((key[0], key[1], False))
        if (
            key[1] < end
            and _is_over(seen, ended)
            and (announced is None or _is_over(announced, ended))
        ):
            yield key


def _is_over(seen: Seen, before: datetime) -> bool:
    return seen.ended is not None and seen.ended < before


def _window(
    runs: Mapping[Key, ReportedRun], begin: datetime, ripe: Iterable[Key]
) -> dict[Key, ReportedRun]:
    """Leave out earlier runs, which were compared before, but for those that are ripe only now."""
    late = {*ripe}
    return {key: run for key, run in runs.items() if key[1] >= begin or key in late}
