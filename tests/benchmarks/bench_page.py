"""Benchmark of the live page: CPU and memory of the service with many pages open.

A service with 1,000 dispatches and its page run in a process of their own, as ``trio-dispatch serve
--web`` does.  Pages are clients with real sockets, each of which follows the events and asks for
the plan of a day at most once a second, as the page in the browser does.  Another client makes
changes.

    python -m tests.benchmarks.bench_page [PAGES] [CHANGES_PER_SECOND] [SECONDS]
"""

from __future__ import annotations

import itertools
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO

import httpx
import trio

from trio_dispatch import Frequency, RecurrenceRule, TargetIds, open_client
from trio_dispatch.client.client import DispatchClient

KEY, PORT, WEB = "bench-key", 50991, 50992
DAY = 86_400_000
_TIMED = 3
SERVE = (
    sys.executable, "-m", "trio_dispatch.cli", "serve", "--key", KEY,
    "--listen", f"127.0.0.1:{PORT}", "--web", f"127.0.0.1:{WEB}",
)  # fmt: skip


async def fill(client: DispatchClient, count: int = 1000) -> list[int]:
    """Create daily dispatches of three types on 100 components; return their ids."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    for number in range(count):
        created = await client.create(
            1,
            type=("CHARGE", "DISCHARGE", "HEAT")[number % 3],
            start_time=midnight + timedelta(days=1, minutes=13 * number % 1440),
            duration=timedelta(hours=1),
            target=TargetIds(number % 100, (number + 1) % 100),
            payload={"power_kw": number % 11},
            recurrence=RecurrenceRule(Frequency.DAILY),
        )
        found.append(created.id)
    return found


class Page:
    """A page in a browser.

    Args:
      timed: Whether to look at when changes come, which takes most of the time of a page here.
    """

    def __init__(self, *, timed: bool) -> None:
        self._timed = timed
        self.delays: list[float] = []
        self.plans: list[float] = []
        self.bytes = 0
        self._changed = trio.Event()

    async def run(self, sent: dict[int, float], cookies: httpx.Cookies) -> None:
        async with (
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{WEB}", cookies=cookies, timeout=60
            ) as http,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._follow, http, sent)
            nursery.start_soon(self._draw, http)

    async def _follow(self, http: httpx.AsyncClient, sent: dict[int, float]) -> None:
        async with http.stream("GET", "/api/events", params={"microgrid": 1}) as response:
            async for line in response.aiter_lines():
                self.bytes += len(line)
                if line.startswith('data: {"version"') and '"updated":[{' in line:
                    now = trio.current_time()
                    for record in json.loads(line[6:])["updated"] if self._timed else ():
                        at = sent.get(record["payload"].get("change"))
                        if at is not None:
                            self.delays.append(now - at)
                    self._changed.set()

    async def _draw(self, http: httpx.AsyncClient) -> None:
        begin = int(datetime.now(UTC).timestamp() * 1000) // DAY * DAY + DAY
        params: dict[str, str | int] = {
            "microgrid": 1,
            "from": begin,
            "to": begin + DAY,
            "height": "power_kw",
        }
        await trio.sleep(random.random())
        while True:
            began = trio.current_time()
            response = await http.get("/api/plan", params=params)
            assert response.status_code == 200
            self.plans.append(trio.current_time() - began)
            self.bytes += response.num_bytes_downloaded
            await trio.sleep(1)
            await self._changed.wait()
            self._changed = trio.Event()


async def change(
    client: DispatchClient, ids: Sequence[int], rate: float, sent: dict[int, float]
) -> None:
    began = trio.current_time()
    for number in itertools.count():
        await trio.sleep_until(began + number / rate)
        sent[number] = trio.current_time()
        payload = {"power_kw": number % 11, "change": number}
        await client.update(1, ids[number % len(ids)], payload=payload)


async def log_in() -> httpx.Cookies:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{WEB}") as http:
        response = await http.post("/api/login", json={"key": KEY}, headers={"X-CSRF": "1"})
        assert response.status_code == 200
        return http.cookies


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> int:
    """Return the bytes of memory that a process has now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def measure(pages: int, rate: float, seconds: float, settle: float = 5.0) -> dict[str, float]:
    """Measure a service with pages and changes.

    Args:
      settle: The seconds after the pages were opened, and again after the first change, until
        anything counts.

    Raises:
      RuntimeError: something failed; the message has the end of the service's log.
    """
    with tempfile.TemporaryFile() as log:
        try:
            return await _measure(pages, rate, seconds, settle, log)
        except Exception as exc:
            log.seek(0)
            end = log.read()[-3000:].decode(errors="replace")
            raise RuntimeError(
                f"the page could not be measured; the service's log:\n{end}"
            ) from exc


async def _measure(
    pages: int, rate: float, seconds: float, settle: float, log: IO[bytes]
) -> dict[str, float]:
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, [*SERVE], check=False, stdout=log, stderr=log)
        process: trio.Process = await nursery.start(run)
        await trio.sleep(4)
        url = f"grpc://127.0.0.1:{PORT}?ssl=false"
        async with open_client(url, key=KEY) as client:
            ids = await fill(client)
            idle_memory = memory_of(process.pid)
            cookies = await log_in()
            opened, sent = (
                [Page(timed=number < _TIMED) for number in range(pages)],
                dict[int, float](),
            )
            for page in opened:
                nursery.start_soon(page.run, sent, cookies)
            await trio.sleep(settle)
            if rate:
                nursery.start_soon(change, client, ids, rate, sent)
            await trio.sleep(settle)
            for page in opened:
                page.delays.clear()
                page.plans.clear()
                page.bytes = 0
            before, began = cpu_of(process.pid), trio.current_time()
            changes = len(sent)
            await trio.sleep(seconds)
            cpu, lasted = cpu_of(process.pid) - before, trio.current_time() - began
            delays = sorted(delay for page in opened for delay in page.delays) or [0.0]
            plans = sorted(each for page in opened for each in page.plans) or [0.0]
            found = {
                "pages": pages,
                "changes_per_second": (len(sent) - changes) / lasted,
                "cpu_percent": 100 * cpu / lasted,
                "memory_mib": memory_of(process.pid) / 2**20,
                "memory_before_mib": idle_memory / 2**20,
                "event_median_s": statistics.median(delays),
                "event_p99_s": delays[int(0.99 * (len(delays) - 1))],
                "plans_per_second": len(plans) / lasted,
                "plan_median_s": statistics.median(plans),
                "plan_p99_s": plans[int(0.99 * (len(plans) - 1))],
                "mib_per_second": sum(page.bytes for page in opened) / lasted / 2**20,
            }
            process.terminate()
            nursery.cancel_scope.cancel()
    return found


def main() -> None:
    given = [*map(float, sys.argv[1:])]
    pages, rate, seconds = [*given, *(50.0, 20.0, 20.0)[len(given) :]]
    for count, changes in ((pages, 0.0), (0.0, rate), (pages, rate)):
        found = trio.run(measure, int(count), changes, seconds)
        print({name: round(value, 3) for name, value in found.items()}, flush=True)


if __name__ == "__main__":
    main()
