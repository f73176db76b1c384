"""A soak on virtual time: ``python -m tests.soak.virtual --minutes 120 --folder DIR``.

The real service, on an SQLite file, and 50 dispatchers with files and actors run in one process
and talk gRPC over memory streams.  10,000 dispatches are created, updated and deleted at random;
streams are cut and muted; the service and the dispatchers are stopped, killed and started again.
Virtual time jumps whenever all tasks wait, so that a busy machine makes the soak slow but never
wrong.

At each tenth of the time it prints what the process uses; in each virtual hour it compares what the
plan demanded, what the actors saw and what the service has recorded.  It exits with the status 1 if
a run is not accounted for, or if the figures are not flat after the first tenth.  SIGTERM ends it
early, with its verdict.  While the process is stopped (SIGSTOP), no time passes for it.
"""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio
import trio.testing

from tests.soak.accounts import Accounts, Margins
from tests.soak.changes import Changer
from tests.soak.figures import flatness_problems, folder_size, header, row, usage
from tests.soak.host import KEPT, Host
from tests.soak.plan import FOREVER, Habits, Ledger
from tests.soak.site import Site
from trio_dispatch import DispatchClient, Frequency, clock
from trio_dispatch.grpc import Status, open_channel

HOUR = timedelta(hours=1)
HABITS = Habits(
    horizon=timedelta(hours=4),
    shortest=timedelta(seconds=1),
    longest=timedelta(minutes=50),
    rules=[
        (Frequency.DAILY, [1, 1, 1, 2], 765),
        (Frequency.HOURLY, range(6, 13), 83),
        (Frequency.MINUTELY, range(60, 120), 2),
    ],
)
# A dispatcher is down for 10 minutes at most, and then needs some to hear of a change.
MARGINS = Margins(
    lag=timedelta(hours=2), settled=timedelta(minutes=30), known=timedelta(minutes=20)
)
MINIMUM_RATIO = 60.0
MAX_SHOWN = 100
FAULT = "the soak made this fail"


class Stopwatch:
    """Measures the time that passes while the process is not stopped by SIGSTOP."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last = time.monotonic()
        self._was_stopped = False
        signal.signal(signal.SIGCONT, self._continued)

    def _continued(self, *_: object) -> None:
        self._was_stopped = True

    def tick(self) -> float:
        """Return the seconds so far; call it often."""
        now = time.monotonic()
        if not self._was_stopped:
            self.seconds += now - self._last
        self._last, self._was_stopped = now, False
        return self.seconds


class Soak:
    """The soak while it runs."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.rng = random.Random(options.seed)
        self.rows: list[dict[str, float]] = []
        self.problems: list[str] = []
        self.watch = Stopwatch()
        self.faults = 0
        self._stop = False
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self._stop = True

    def complain(self, text: str) -> None:
        """Note that something is wrong, and go on."""
        self.problems.append(text)
        if len(self.problems) <= MAX_SHOWN:
            say(f"WRONG at {clock.now():%d %H:%M:%S}: {text}")

    async def run(self) -> None:
        """Run it, to its verdict."""
        ledgers = self._microgrids()
        async with trio.open_nursery() as nursery:
            host = self.host = Host(nursery, self.folder / "service.db", KEPT)
            await host.start()
            async with open_channel(host.connect) as channel:
                client = DispatchClient(channel, key=host.key)
                self.changer = Changer(
                    client,
                    self.rng,
                    ledgers,
                    self.options.dispatches,
                    HABITS,
                    linger=timedelta(minutes=30),
                )
                await self.changer.fill()
                say(f"{self.changer.present:,} dispatches created in {self.watch.tick():.1f} s")
                self.sites = [
                    Site(
                        host,
                        self.folder / f"site-{number}",
                        f"site-{number}",
                        microgrid_id,
                        random.Random(self.rng.random()),
                        self.complain,
                        kept=KEPT.run_age,
                    )
                    for number, microgrid_id in enumerate(self._places(), 1)
                ]
                self.accounts = Accounts(client, ledgers, self.sites, MARGINS)
                await self._soak()
            nursery.cancel_scope.cancel()

    def _places(self) -> list[int]:
        """The microgrid of each dispatcher: the first two have five, the others one."""
        return [1] * 5 + [2] * 5 + [*range(3, self.options.dispatchers - 7)]

    def _microgrids(self) -> Mapping[int, Ledger]:
        return {microgrid_id: Ledger() for microgrid_id in dict.fromkeys(self._places())}

    async def _soak(self) -> None:
        begin = clock.now()
        async with trio.open_nursery() as nursery:
            for site in self.sites:
                nursery.start_soon(site.run, 10 * 3600.0, 600.0)
            async with trio.open_nursery() as troubles:
                troubles.start_soon(self.changer.run, 15.0)
                troubles.start_soon(self._make_trouble)
                compared = await self._watch(begin)
                troubles.cancel_scope.cancel()
            # The service is up again, and all dispatchers get to know everything.
            if self.host.is_down:
                await self.host.start()
            await trio.sleep(20 * 60)
            self._check_content()
            for site in self.sites:
                site.close()
            end = clock.now()
        # They have ended in order, and so has everything that they saw.
        await trio.sleep((MARGINS.lag + HOUR).total_seconds())
        while compared < end + HOUR:
            compared = await self._compare(compared, served_until=end)
        for site in self.sites:
            if site.batteries.on:
                self.complain(f"{site.name}: left on at the end: {site.batteries.on}")
            if site.witness.seen:
                self.complain(f"{site.name}: not accounted for: {site.witness.seen}")
        self._tell(begin, end)

    async def _watch(self, begin: datetime) -> datetime:
        """Take the figures at each tenth; return until when runs were compared."""
        compared = begin.replace(minute=0, second=0, microsecond=0)
        tenth = self.options.minutes * 60 / 10
        started, self._cpu_before = self.watch.tick(), time.process_time()
        say(f"{len(self.sites)} dispatchers of {len(self._microgrids())} microgrids start")
        while not self._stop:
            await trio.sleep(60)
            spent = self.watch.tick() - started
            if spent >= tenth * (len(self.rows) + 1):
                self._take_figures(begin, spent)
                if len(self.rows) == 10:
                    break
            if clock.now() - compared >= MARGINS.lag + HOUR:
                compared = await self._compare(compared)
        self.spent, self.cpu = spent, self._cpu()
        self.virtual = (clock.now() - begin).total_seconds()
        return compared

    async def _compare(self, begin: datetime, *, served_until: datetime = FOREVER) -> datetime:
        """Compare the runs of an hour, and return its end."""
        end = begin + HOUR
        for problem in await self.accounts.close(
            begin, end, clock.now(), served_until=served_until
        ):
            self.complain(problem)
        return end

    def _check_content(self) -> None:
        """Compare what the dispatchers know with what the service has."""
        for site in self.sites:
            dispatcher = site.dispatcher
            if dispatcher is None:
                continue
            ledger = self.changer.ledgers[site.microgrid_id]
            known = dispatcher.dispatches
            for id_, dispatch in known.items():
                if ledger.present.get(id_) != dispatch:
                    self.complain(
                        f"{site.name}: {dispatch} is known, not {ledger.present.get(id_)}"
                    )
            for id_, dispatch in ledger.present.items():
                ended = dispatch.last_end()
                if id_ not in known and (ended is None or ended > clock.now()):
                    self.complain(f"{site.name}: {dispatch} is not known")

    async def _make_trouble(self) -> None:
        rng, host = self.rng, self.host
        while True:
            await trio.sleep(rng.expovariate(1 / 1800))
            self.faults += 1
            match rng.randrange(7):
                case 0:
                    with trio.CancelScope(shield=True):
                        await host.stop()
                        await trio.sleep(rng.choice([0, rng.uniform(0, 120)]))
                        await host.start()
                case 1:
                    await host.drop_connections()
                case 2:
                    host.faults.end_streams(rng.choice([Status.OK, Status.UNAVAILABLE]), FAULT)
                case 3 | 4:
                    host.faults.mute_streams(rng.choice([0.5, 1]))
                case 5:
                    method = rng.choice(["list", "report_runs", "stream", "update", "create"])
                    host.faults.fail_next(method, Status.UNAVAILABLE, FAULT, rng.randint(1, 5))
                case 6:
                    with host.faults.delay((), rng.uniform(0, 90)):
                        await trio.sleep(60)

    def _cpu(self) -> float:
        """Return the CPU time since the dispatchers were started."""
        return time.process_time() - self._cpu_before

    def _take_figures(self, begin: datetime, spent: float) -> None:
        used = usage()
        counts = self.accounts.counts
        virtual = (clock.now() - begin).total_seconds()
        figures: dict[str, float] = {
            "tenth": len(self.rows) + 1,
            "hours": virtual / 3600,
            "ratio": virtual / spent,
            "cpu_ratio": virtual / self._cpu(),
            **used,
            "db_mb": folder_size(self.folder, "service.db*"),
            "cache_mb": folder_size(self.folder, "cache*") - folder_size(self.folder, "*.reports*"),
            "reports_mb": folder_size(self.folder, "*.reports*"),
            "dispatches": self.changer.present,
            "changes": self.changer.changes,
            **{
                name: counts[name]
                for name in ("planned", "started", "stopped", "recorded", "missed")
            },
            "open": sum(len(site.witness.seen) for site in self.sites),
            "faults": self.faults,
            "restarts": sum(site.kills + site.restarts for site in self.sites),
            "wrong": len(self.problems),
        }
        if not self.rows:
            say(header(figures))
        say(row(figures))
        self.rows.append(figures)

    def _tell(self, begin: datetime, end: datetime) -> None:
        """Print the sums."""
        sums = [site.counts for site in self.sites]
        say(
            f"{self.host.starts} starts of the service, "
            f"{sum(site.kills for site in self.sites)} kills and "
            f"{sum(site.restarts for site in self.sites)} ends of dispatchers, "
            f"{self.changer.unsure} calls of unknown effect"
        )
        for name in vars(sums[0]):
            say(f"{name:>16} {sum(getattr(each, name) for each in sums):12,}")
        for name, number in sorted(self.accounts.counts.items()):
            say(f"{name:>16} {number:12,}")

    def verdict(self) -> int:
        """Print the verdict, and return the exit status."""
        ratio, ratio_of_cpu = self.virtual / self.spent, self.virtual / self.cpu
        if len(self.rows) >= 7:
            self.problems += flatness_problems(self.rows)
        else:
            say("too short to tell whether the figures are flat")
        if ratio_of_cpu < MINIMUM_RATIO:
            self.problems.append(f"only {ratio_of_cpu:.0f} times as fast as real time")
        say(
            f"{self.virtual / 3600:,.1f} virtual hours in {self.spent / 60:.1f} minutes: "
            f"{ratio:.0f} times as fast as real time, {ratio_of_cpu:.0f} times by CPU time"
        )
        for problem in self.problems[:MAX_SHOWN]:
            say(f"WRONG: {problem}")
        say(f"FAILED: {len(self.problems)} problems" if self.problems else "PASSED")
        return bool(self.problems)


def say(text: str) -> None:
    """Print a line with the time."""
    sys.stdout.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=120, help="how long it runs")
    parser.add_argument("--dispatchers", type=int, default=50)
    parser.add_argument("--dispatches", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where its files are; by default a new folder")
    options = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="soak-") as folder:
        soak = Soak(options, Path(folder))
        trio.run(
            soak.run,
            clock=trio.testing.MockClock(autojump_threshold=0),
            strict_exception_groups=True,
        )
    return soak.verdict()


if __name__ == "__main__":
    sys.exit(main())
