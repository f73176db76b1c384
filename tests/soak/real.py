"""A soak in real time: ``python -m tests.soak.real --minutes 60 --folder DIR``.

``trio-dispatch serve`` and five processes with ten dispatchers each talk over loopback sockets,
through a proxy that cuts and stalls connections.  10,000 dispatches are created, updated and
deleted at random.  The service and the processes are killed (SIGKILL), stopped (SIGTERM) and
started again.

At each tenth of the time it prints what the processes use; each minute it compares what the plan
demanded, what the actors saw and what the service has recorded.  It exits with the status 1 if a
run is not accounted for, or if the figures are not flat after the first tenth: those of the first
process of dispatchers, which is never stopped, of the service, which is not stopped in the second
half, and of this process.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import random
import resource
import signal
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import trio
from trio_util import wait_any

from tests.helpers.witness import Witness
from tests.soak.accounts import Accounts, Margins
from tests.soak.changes import Changer
from tests.soak.figures import flatness_problems, folder_size, header, row, usage, usage_of
from tests.soak.plan import FOREVER, Habits, Ledger
from tests.soak.proxy import Proxy
from tests.soak.site import Batteries
from tests.soak.virtual import MAX_SHOWN, say
from trio_dispatch import DispatchClient, Frequency, clock, open_client

MINUTE = timedelta(minutes=1)
HABITS = Habits(
    horizon=30 * MINUTE,
    shortest=timedelta(seconds=5),
    longest=3 * MINUTE,
    rules=[(Frequency.HOURLY, [1], 840), (Frequency.MINUTELY, range(10, 30), 10)],
)
# A process is down for half a minute at most, and a connection stalled for two.
MARGINS = Margins(lag=10 * MINUTE, settled=5 * MINUTE, known=6 * MINUTE)
PROCESSES = 5
KEPT = 20 * MINUTE
"""So short that the database is full after half of the time."""
FLAT = {"service_rss_mb": 0.05, "first_rss_mb": 0.05, "own_rss_mb": 0.1, "db_mb": 0.5}
KEYS = {"dispatchers": ["read", "report"], "changes": ["read", "write"], "accounts": ["read"]}


@dataclass
class RealSite:
    """A dispatcher in another process, and what it saw."""

    name: str
    microgrid_id: int
    batteries: Batteries
    witness: Witness = field(
        default_factory=lambda: Witness(
            tolerance=timedelta(seconds=1),
            delay=timedelta(seconds=5),
            lag=timedelta(seconds=15),
            kept=KEPT,
        )
    )


class Dispatchers:
    """One process after the other with the same dispatchers.

    Attributes:
      kills, stops: How often a process was killed, or stopped.
      process: The present one; None between two.
    """

    def __init__(
        self,
        sites: Sequence[RealSite],
        folder: Path,
        notes: Path,
        url: str,
        log: int,
        complain: Callable[[str], None],
    ) -> None:
        self.kills = self.stops = 0
        self.process: trio.Process | None = None
        self._sites = {site.name: site for site in sites}
        self._notes = notes
        self._position = 0
        self._opening: dict[str, datetime] = {}
        self._log = log
        self._complain = complain
        self._command = [
            *(sys.executable, "-m", "tests.soak.dispatchers"),
            *("--url", url, "--key", "dispatchers"),
            *("--folder", str(folder), "--notes", str(notes)),
            *(f"{site.name}={site.microgrid_id}" for site in sites),
        ]

    async def run(self, rng: random.Random, lasts: float, closing: trio.Event) -> None:
        """Run processes until closed.

        Args:
          lasts: How long a process lasts on average.
        """
        while not closing.is_set():
            now = clock.now()
            self._opening = dict.fromkeys(self._sites, now)
            self.process = await trio.lowlevel.open_process(
                self._command, stdout=self._log, stderr=self._log
            )
            with trio.move_on_after(rng.expovariate(1 / lasts) if lasts < math.inf else math.inf):
                await wait_any(closing.wait, self.process.wait)
            if self.process.returncode is not None:
                self._complain(f"a process ended with the status {self.process.returncode}")
                await self._kill()
            elif closing.is_set() or rng.random() < 0.3:
                await self._stop(last=closing.is_set())
            else:
                await self._kill()
            if not closing.is_set():
                await trio.sleep(rng.choice([0, rng.uniform(0, 30)]))

    def read(self) -> None:
        """Take in what was written down so far."""
        if not self._notes.exists():
            return
        with self._notes.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # it is being written
                self._position += len(line)
                self._take(json.loads(line))

    def _take(self, note: Mapping[str, str | int | bool | None]) -> None:
        site = self._sites[str(note["site"])]
        witness, id_, what = site.witness, int(note.get("id") or 0), note["what"]
        match what:
            case "opened":
                self._end_opening(site, datetime.fromisoformat(str(note["now"])))
            case "on":
                site.batteries.switch_on(witness.process, id_)
            case "off":
                site.batteries.switch_off(witness.process, id_)
            case "orphan":
                site.batteries.on.pop(id_, None)
            case _:
                now = datetime.fromisoformat(str(note["now"]))
                key = id_, datetime.fromisoformat(str(note["start"])), bool(note["actor"])
                if what == "begin":
                    witness.begin(witness.process, key, now)
                else:
                    until = note["until"]
                    witness.end(
                        witness.process,
                        key,
                        now,
                        None if until is None else datetime.fromisoformat(str(until)),
                        str(note["how"]),
                    )

    def _end_opening(self, site: RealSite, now: datetime) -> None:
        began = self._opening.pop(site.name, None)
        if began is not None:
            site.witness.openings.append((began, now))

    async def _kill(self) -> None:
        assert self.process is not None
        now = clock.now()
        self.process.kill()
        await self.process.wait()
        self.process = None
        self.read()
        for site in self._sites.values():
            self._end_opening(site, now)
            site.witness.kill(now)
        self.kills += 1

    async def _stop(self, *, last: bool) -> None:
        assert self.process is not None
        self.read()
        now = clock.now()
        for site in self._sites.values():
            site.witness.disturb(now)
        self.process.terminate()
        await self.process.wait()
        self.process = None
        self.read()
        self.stops += 1
        for site in self._sites.values():
            self._end_opening(site, clock.now())
            # Its receivers end a little before the process does: what is due meanwhile is reported.
            site.witness.disturb(clock.now())
        if last:
            # A busy machine does not deliver every report before the end, and nobody does later.
            for site in self._sites.values():
                for seen in site.witness.seen.values():
                    seen.unsure |= seen.touched >= now


class Service:
    """``trio-dispatch serve``, again and again on the same file and port.

    Attributes:
      process: The present one.
      kills: How often it was killed or stopped.
    """

    def __init__(self, folder: Path, port: int, log: int) -> None:
        self.process: trio.Process | None = None
        self.kills = 0
        self._log = log
        keys = folder / "keys.toml"
        keys.touch(mode=0o600)
        keys.write_text(
            "".join(
                f'[[keys]]\nname = "{name}"\nkey = "{name}"\nrights = {json.dumps(rights)}\n'
                for name, rights in KEYS.items()
            )
        )
        kept = f"{KEPT // MINUTE}m"
        self._command = [
            *(str(Path(sys.executable).with_name("trio-dispatch")), "serve"),
            *("--listen", f"127.0.0.1:{port}", "--db", str(folder / "service.db")),
            *("--keys", str(keys), "--keep-runs", kept, "--keep-changes", kept),
        ]

    async def start(self) -> None:
        """Start a process."""
        self.process = await trio.lowlevel.open_process(
            self._command, stdout=self._log, stderr=self._log
        )

    async def end(self, number: signal.Signals) -> None:
        """End the present process with a signal."""
        assert self.process is not None
        self.process.send_signal(number)
        await self.process.wait()
        self.process = None
        self.kills += 1


class Soak:
    """The soak while it runs."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.rng = random.Random(options.seed)
        self.rows: list[dict[str, float]] = []
        self.problems: list[str] = []
        self.troubles = 0
        self._log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._stop = trio.Event()

    def complain(self, text: str) -> None:
        """Note that something is wrong, and go on."""
        self.problems.append(text)
        if len(self.problems) <= MAX_SHOWN:
            say(f"WRONG: {text}")

    async def run(self) -> None:
        """Run it, to its end."""
        port = _free_port()
        places = [1] * 5 + [2] * 5 + [*range(3, 43)]
        ledgers = {microgrid_id: Ledger() for microgrid_id in dict.fromkeys(places)}
        self.sites = [
            RealSite(f"site-{number}", microgrid_id, Batteries(self._complainer(number)))
            for number, microgrid_id in enumerate(places, 1)
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_on_signal)
            self.service = Service(self.folder, port, self._log)
            await self.service.start()
            self.proxy = Proxy(port)
            proxy_port = await nursery.start(self.proxy.serve)
            url, direct = (f"grpc://127.0.0.1:{each}?ssl=false" for each in (proxy_port, port))
            # Neighbours on a microgrid are in different processes.
            self.groups = [
                Dispatchers(
                    self.sites[number::PROCESSES],
                    self.folder,
                    self.folder / f"notes-{number}",
                    url,
                    self._log,
                    self.complain,
                )
                for number in range(PROCESSES)
            ]
            async with (
                open_client(url, key="changes") as changing,
                open_client(direct, key="accounts") as reading,
            ):
                await self._fill(changing, ledgers)
                self.accounts = Accounts(reading, ledgers, self.sites, MARGINS)
                await self._soak()
            await self.service.end(signal.SIGTERM)
            nursery.cancel_scope.cancel()

    async def _stop_on_signal(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                self._stop.set()

    def _complainer(self, number: int) -> Callable[[str], None]:
        return lambda text: self.complain(f"site-{number}: {text}")

    async def _fill(self, client: DispatchClient, ledgers: Mapping[int, Ledger]) -> None:
        self.changer = Changer(
            client, self.rng, ledgers, self.options.dispatches, HABITS, linger=2 * MINUTE
        )
        await trio.sleep(5)
        await self.changer.fill()
        say(f"{self.changer.present:,} dispatches created")

    async def _soak(self) -> None:
        closing = trio.Event()
        begin = clock.now()
        async with trio.open_nursery() as nursery:
            for number, group in enumerate(self.groups):
                lasts = 600.0 if number else math.inf
                nursery.start_soon(group.run, self.rng, lasts, closing)
            async with trio.open_nursery() as troubles:
                troubles.start_soon(self.changer.run, 1.0)
                troubles.start_soon(self._make_trouble, begin)
                compared = await self._watch(begin)
                troubles.cancel_scope.cancel()
            say("the faults have ended")
            await trio.sleep(120)
            end = clock.now()
            closing.set()
        while compared < end + MINUTE:
            compared = await self._compare(compared, served_until=end, now=FOREVER)
        for site in self.sites:
            if site.batteries.on:
                self.complain(f"{site.name}: left on at the end: {site.batteries.on}")
            if site.witness.seen:
                self.complain(f"{site.name}: not accounted for: {site.witness.seen}")

    async def _watch(self, begin: datetime) -> datetime:
        """Take the figures at each tenth; return until when runs were compared."""
        compared = begin.replace(second=0, microsecond=0)
        tenth = self.options.minutes * MINUTE / 10
        say(f"{len(self.sites)} dispatchers in {len(self.groups)} processes start")
        self._cpu_before = self._cpu()
        while len(self.rows) < 10 and not self._stop.is_set():
            with trio.move_on_after(5):
                await self._stop.wait()
            for group in self.groups:
                group.read()
            now = clock.now()
            if now - begin >= tenth * (len(self.rows) + 1):
                self._take_figures(now - begin)
            if now - compared >= MARGINS.lag + MINUTE:
                compared = await self._compare(compared, now=now)
        return compared

    async def _compare(
        self, begin: datetime, *, now: datetime, served_until: datetime = FOREVER
    ) -> datetime:
        """Compare the runs of a minute, and return its end."""
        end = begin + MINUTE
        for problem in await self.accounts.close(begin, end, now, served_until=served_until):
            self.complain(problem)
        return end

    async def _make_trouble(self, begin: datetime) -> None:
        rng = self.rng
        while True:
            await trio.sleep(rng.expovariate(1 / 60))
            self.troubles += 1
            # In the second half the service is left alone, to see whether it grows.
            is_early = clock.now() - begin < self.options.minutes * MINUTE / 2
            match rng.randrange(6 if is_early else 4):
                case 0:
                    await self.proxy.cut()
                case 1 | 2:
                    self.proxy.stall()
                    # Also at the end of the soak: a change under way is waited for.
                    try:
                        await trio.sleep(rng.uniform(1, 110))
                        if rng.random() < 0.5:
                            await self.proxy.cut()
                    finally:
                        self.proxy.release()
                case 3:
                    await self.proxy.cut()
                    await trio.sleep(1)
                    await self.proxy.cut()
                case 4 | 5:
                    with trio.CancelScope(shield=True):
                        await self.service.end(
                            rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
                        )
                        await trio.sleep(rng.choice([0, rng.uniform(0, 30)]))
                        await self.service.start()

    def _cpu(self) -> float:
        """Return the CPU time of all processes so far, in seconds."""
        spent = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            used = resource.getrusage(who)
            spent += used.ru_utime + used.ru_stime
        return spent + sum(each["cpu_s"] for each in self._children())

    def _children(self) -> list[Mapping[str, float]]:
        processes = [self.service.process, *(group.process for group in self.groups)]
        return [usage_of(each.pid) for each in processes if each is not None]

    def _take_figures(self, lasted: timedelta) -> None:
        counts = self.accounts.counts
        nothing = {"rss_mb": math.nan, "fds": math.nan, "threads": math.nan}
        processes: dict[str, Mapping[str, float]] = {"own": usage()}
        for name, process in (("service", self.service), ("first", self.groups[0])):
            pid = None if process.process is None else process.process.pid
            processes[name] = nothing if pid is None else usage_of(pid)
        cpu = self._cpu() - self._cpu_before
        figures: dict[str, float] = {
            "tenth": len(self.rows) + 1,
            "minutes": lasted / MINUTE,
            "load_%": 100 * cpu / lasted.total_seconds(),
            **{
                f"{name}_{what}": processes[name][what]
                for name in ("service", "first", "own")
                for what in nothing
            },
            "own_tasks": processes["own"]["tasks"],
            "db_mb": folder_size(self.folder, "service.db*"),
            "cache_mb": folder_size(self.folder, "cache*") - folder_size(self.folder, "*.reports*"),
            "reports_mb": folder_size(self.folder, "*.reports*"),
            "dispatches": self.changer.present,
            "changes": self.changer.changes,
            **_selected(counts),
            "open": sum(len(site.witness.seen) for site in self.sites),
            "troubles": self.troubles,
            "kills": sum(group.kills for group in self.groups),
            "stops": sum(group.stops for group in self.groups),
            "service_kills": self.service.kills,
            "unsure": self.changer.unsure,
            "wrong": len(self.problems),
        }
        if not self.rows:
            say(header(figures))
        say(row(figures))
        self.rows.append(figures)

    def verdict(self) -> int:
        """Print the verdict, and return the exit status."""
        for name, number in sorted(self.accounts.counts.items()):
            say(f"{name:>16} {number:12,}")
        if len(self.rows) == 10:
            # Only what is not restarted between the two.
            first = {name: limit for name, limit in FLAT.items() if "service" not in name}
            rows = [_without(row, "service_") for row in self.rows]
            self.problems += flatness_problems(rows, first)
            service = {name: limit for name, limit in FLAT.items() if "service" in name}
            rows = [_without(row, "first_", "own_") for row in self.rows]
            self.problems += flatness_problems(
                rows, service, early=slice(6, 8), late=slice(-2, None)
            )
        else:
            say("too short to tell whether the figures are flat")
        for problem in self.problems[:MAX_SHOWN]:
            say(f"WRONG: {problem}")
        say(f"FAILED: {len(self.problems)} problems" if self.problems else "PASSED")
        return bool(self.problems)


def _selected(counts: Counter[str]) -> dict[str, float]:
    return {name: counts[name] for name in ("planned", "started", "stopped", "recorded", "missed")}


def _without(row: Mapping[str, float], *prefixes: str) -> dict[str, float]:
    return {name: value for name, value in row.items() if not name.startswith(prefixes)}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60, help="how long it runs")
    parser.add_argument("--dispatches", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where its files are; by default a new folder")
    parser.add_argument("--log", default=os.devnull, help="where the processes log")
    options = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="soak-") as folder:
        soak = Soak(options, Path(folder))
        trio.run(soak.run)
    return soak.verdict()


if __name__ == "__main__":
    sys.exit(main())
