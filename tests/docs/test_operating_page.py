"""The page about operating, and the files that it names: unit, container, metrics, backups."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
from prometheus_client import CollectorRegistry, generate_latest
from trio.testing import MockClock

from tests.helpers.dispatching import dispatching
from tests.helpers.prometheus import read_rules, scrape_of
from trio_dispatch import ActorRun, clock, open_client
from trio_dispatch.cli.app.group import find_command
from trio_dispatch.cli.serving.service import GRACE
from trio_dispatch.metrics import DispatcherCollector
from trio_dispatch.service import Keys, Metrics, open_service, open_store
from trio_dispatch.service.backups import BackupStatistics
from trio_dispatch.testing import make_dispatch, open_test_service

ROOT = Path(__file__).parents[2]
OPERATIONS = ROOT / "docs" / "operations"
PAGE = (ROOT / "docs" / "howto" / "operating.md").read_text()
UNIT = (OPERATIONS / "trio-dispatch.service").read_text()
CONTAINERFILE = (OPERATIONS / "Containerfile").read_text()


def setting(name: str) -> str:
    """Return a setting of the unit."""
    [value] = re.findall(rf"^{name}=((?:.*\\\n)*.*)$", UNIT, re.MULTILINE)
    return str(value).replace("\\\n", " ")


def check_serve(words: list[str]) -> None:
    """Check that the options of a command ``serve`` exist and are valid."""
    command = find_command("serve")
    assert words[1] == "serve"
    known = {option for p in command.params for option in p.opts}
    assert {word for word in words if word.startswith("--")} <= known
    command.make_context("serve", words[2:])


def test_unit_starts_the_service_and_waits_for_it_to_drain() -> None:
    check_serve(shlex.split(setting("ExecStart")))
    assert int(setting("TimeoutStopSec")) > GRACE
    assert setting("Type") == "notify-reload"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_unit_is_valid_and_its_exposure_is_low(tmp_path: Path) -> None:
    unit = tmp_path / "trio-dispatch.service"
    unit.write_text(UNIT.replace("/opt/trio-dispatch/bin/trio-dispatch", sys.executable))
    done = _run("systemd-analyze", "verify", unit)
    # Before version 253 systemd does not know this type.
    unknown = [line for line in done.stderr.splitlines() if "notify-reload" not in line]
    assert (done.returncode, unknown) == (0, [])
    options = "--offline=true", "--threshold=30", "--no-pager"
    done = _run("systemd-analyze", "security", *options, unit)
    assert done.returncode == 0, done.stdout


def _run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_container_runs_as_a_user_of_its_own_and_has_a_health_check() -> None:
    lines = CONTAINERFILE.replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    last = max(number for number, (name, _) in enumerate(steps) if name == "FROM")
    final = dict(steps[last:])
    assert final["USER"] not in {"root", "0"}
    check_serve([*json.loads(final["ENTRYPOINT"]), *json.loads(final["CMD"])])
    health = json.loads(final["HEALTHCHECK"].partition("CMD")[2])
    assert "127.0.0.1:9464/readyz" in health[-1]
    compile(health[-1], "health check", "exec")
    copied = [line.split()[:-1] for name, line in steps[:last] if name == "COPY"]
    assert copied
    assert all((ROOT / source).exists() for sources in copied for source in sources)


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_container_has_no_warning() -> None:
    done = _run("hadolint", OPERATIONS / "Containerfile")
    assert done.returncode == 0, done.stdout


async def test_page_lists_all_metrics(autojump_clock: MockClock, tmp_path: Path) -> None:
    async def fail(run: ActorRun[None]) -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    def parse(payload: object) -> None:
        if payload:
            raise ValueError("it has to be empty")

    metrics = Metrics()
    metrics.certificate_expiry = clock.now()
    metrics.backups = BackupStatistics()
    registry = CollectorRegistry()
    async with (
        open_store(tmp_path / "x.db") as store,
        open_service(store) as service,
        open_test_service() as dispatches,
        dispatching(dispatches, name="site-7") as dispatcher,
        trio.open_nursery() as nursery,
    ):
        metrics.watch(service)
        nursery.start_soon(partial(dispatcher.run_actors, payload=parse), "CHARGE", fail)
        registry.register(DispatcherCollector(dispatcher))
        await store.put(1, make_dispatch(1))
        await dispatches.put(make_dispatch(1, duration=None))
        await dispatches.put(make_dispatch(2, duration=None, payload={"x": 1}))
        await trio.sleep(40)
        text = await metrics.text() + generate_latest(registry)
        nursery.cancel_scope.cancel()
    shown = re.findall(r"^# TYPE (\w+) ", text.decode(), re.MULTILINE)
    exported = {name for name in shown if not name.endswith("_created")}
    named = set(re.findall(r"`(dispatch(?:er)?_\w+)(?:\{[\w,]*\})?`", PAGE))
    assert named == {name for name in exported if name.startswith("dispatch")}
    for name, labels in re.findall(r"`(dispatch\w*)\{([\w,]*)\}`", PAGE):
        samples = scrape_of(0, text.decode()).samples
        for found in samples.get(name) or samples.get(f"{name}_bucket") or ():
            own = {label for label, _ in found} - {"le"}
            if name.startswith("dispatcher_"):
                own -= {"microgrid", "dispatcher"}
            assert own == set(labels.split(","))


def test_page_names_each_alert() -> None:
    named = set(re.findall(r"`(Dispatch\w+)`", PAGE)) - {"DispatcherCollector"}
    assert named == {rule.name for rule in read_rules(OPERATIONS / "alerts.yaml")}


async def test_example_serves_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    [example] = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    with trio.fail_after(30):
        async with open_service(keys=Keys.of("k")) as service, trio.open_nursery() as nursery:
            ((_, port, *_), *_) = await nursery.start(
                partial(service.server.serve_tcp, 0, host="127.0.0.1")
            )
            url = f"grpc://127.0.0.1:{port}?ssl=false"
            monkeypatch.setenv("DISPATCH_API_URL", url)
            monkeypatch.setenv("DISPATCH_API_AUTH_KEY", "k")
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            free = listener.socket.getsockname()[1]
            await listener.aclose()
            names: dict[str, object] = {"__name__": "example"}
            exec(example.replace("9465", str(free)), names)
            main = names["main"]
            assert callable(main)
            nursery.start_soon(main)
            async with open_client(url, key="k") as client:
                while not await client.list_dispatchers(1):  # noqa: ASYNC110 - nothing tells it
                    await trio.sleep(0.01)
            async with await trio.open_tcp_stream("127.0.0.1", free) as stream:
                await stream.send_all(b"GET /metrics HTTP/1.0\r\n\r\n")
                page = b"".join([bytes(some) async for some in stream])
            assert b'dispatcher_info{dispatcher="site-7"' in page
            nursery.cancel_scope.cancel()


def test_options_of_the_backup_command_are_valid() -> None:
    [line] = re.findall(r"^trio-dispatch serve .*$", PAGE, re.MULTILINE)
    check_serve(shlex.split(line))
