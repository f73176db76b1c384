"""The fixtures, in runs of pytest like those of a user's project."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_dispatch import Dispatcher, clock
from trio_dispatch.clock import VIRTUAL_START as START
from trio_dispatch.testing import LocalService, VirtualClock, make_dispatch

STRICT, AUTO = "[pytest]\n", "[pytest]\ntrio_mode = true\n"


def run_pytest(folder: Path, *options: str, **environment: str) -> str:
    """Run pytest in a folder and return its output."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "COV_", "TRIO_DISPATCH_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *options],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not done.stderr
    return done.stdout


def outcomes(printed: str) -> dict[str, str]:
    """The outcome of each test, by name."""
    summary = re.findall(r"^(PASSED|FAILED|ERROR) \S+?::(\w+)", printed, re.MULTILINE)
    return {name: outcome for outcome, name in summary}


async def test_a_dispatcher_follows_the_service_on_virtual_time(
    dispatcher: Dispatcher, dispatch_service: LocalService, virtual_clock: VirtualClock
) -> None:
    assert virtual_clock is clock.virtual_clock()
    assert virtual_clock.now() == START
    status = dispatcher.running_status_change.new_receiver()
    await dispatch_service.put(make_dispatch(1, start_time=START.replace(hour=1)))
    assert (await status.receive()).id == 1
    assert virtual_clock.now() == START.replace(hour=1)


async def test_one_fixture_is_enough(dispatcher: Dispatcher) -> None:
    assert isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)
    await trio.sleep(3600)
    assert dispatcher.dispatches == {}


DRAWN: list[float] = []


@pytest.mark.parametrize("_", range(2))
async def test_random_numbers_are_the_same_each_time(virtual_clock: VirtualClock, _: int) -> None:
    DRAWN.append(random.random())
    assert len(set(DRAWN)) == 1


@pytest.mark.parametrize("_", range(2))
def test_other_tests_keep_their_random_numbers(_: int) -> None:
    drawn = random.random()
    assert drawn not in DRAWN
    DRAWN.append(drawn)


USES = """
import trio, pytest
from datetime import datetime, timedelta, UTC

MINE = datetime(2030, 6, 1, tzinfo=UTC)

def on_virtual_time():
    return isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)

{mark}
async def test_dispatcher(dispatcher):
    assert on_virtual_time()
    await trio.sleep(3600)

{mark}
async def test_service(dispatch_service):
    assert on_virtual_time()
    assert await dispatch_service.dispatches() == {{}}

{mark}
async def test_clock(virtual_clock):
    await virtual_clock.advance(timedelta(days=1))

class TestClass:
    {mark}
    async def test_method(self, dispatcher):
        assert on_virtual_time()

@pytest.fixture
async def follower(dispatcher, virtual_clock):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield dispatcher
        nursery.cancel_scope.cancel()

{mark}
async def test_own_fixture(follower):
    assert on_virtual_time()

{mark}
async def test_given_clock(dispatcher, autojump_clock):
    assert trio.lowlevel.current_clock() is autojump_clock

{mark}
async def test_mock_clock(virtual_clock, mock_clock):
    assert trio.lowlevel.current_clock() is mock_clock
    mock_clock.jump(3600)
    assert virtual_clock.now() == virtual_clock.start + timedelta(hours=1)

class TestOwnDay:
    @pytest.fixture
    async def virtual_clock(self, virtual_clock):
        virtual_clock.set(MINE)
        return virtual_clock

    {mark}
    async def test_own_start(self, virtual_clock, dispatcher):
        assert virtual_clock.now() == MINE
        assert dispatcher.sync_state.value.since == MINE

ran = []

def own_run(main, **options):
    ran.append(main)
    return trio.run(main, **options)

@pytest.mark.trio(run=own_run)
async def test_own_run(virtual_clock):
    assert on_virtual_time()
    assert len(ran) == 1

{mark}
async def test_no_fixture():
    assert not on_virtual_time()
"""

NAMES = set(re.findall(r"async def (test_\w+)", USES))


@pytest.mark.parametrize("mode", [STRICT, AUTO], ids=["strict", "auto"])
def test_every_trio_test_can_use_the_fixtures(tmp_path: Path, mode: str) -> None:
    (tmp_path / "pytest.ini").write_text(mode)
    mark = "@pytest.mark.trio" if mode == STRICT else ""
    (tmp_path / "test_uses.py").write_text(USES.format(mark=mark))
    printed = run_pytest(tmp_path, "-rA")
    assert len(NAMES) == 10
    found = re.findall(r"^PASSED .*::(test_\w+)$", printed, re.MULTILINE)
    assert set(found) == NAMES, printed


MISUSES = """
from datetime import UTC, datetime, timedelta
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from trio_dispatch.testing import make_dispatch, open_test_service, virtual_clock

def test_sync(dispatcher): pass

async def test_without_a_mark(virtual_clock): pass

several = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=3)

@pytest.mark.trio
@several
@given(number=st.integers())
async def test_hypothesis(virtual_clock, number): pass

@pytest.mark.trio
@several
@given(number=st.integers())
async def test_hypothesis_with_a_clock(autojump_clock, number):
    clock = virtual_clock(datetime(2026, 3, 2, tzinfo=UTC))
    async with open_test_service() as service:
        await service.put(make_dispatch(abs(number) % 100))
        await clock.advance(timedelta(hours=1))
"""


def test_wrong_use_fails_with_an_explanation(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(STRICT)
    (tmp_path / "test_misuses.py").write_text(MISUSES)
    printed = run_pytest(tmp_path, "-rA")
    assert outcomes(printed) == {
        "test_sync": "ERROR",
        "test_without_a_mark": "ERROR",
        "test_hypothesis": "FAILED",
        "test_hypothesis_with_a_clock": "PASSED",
    }, printed
    for name in ("test_sync", "test_without_a_mark"):
        assert f"{name} uses fixtures of trio-dispatch but is not a Trio test" in printed
    assert "use pytest-trio's fixture `autojump_clock`" in printed


def test_without_pytest_trio_the_fixtures_fail_with_an_explanation(tmp_path: Path) -> None:
    (tmp_path / "test_uses.py").write_text("def test_clock(virtual_clock): pass\n")
    printed = run_pytest(tmp_path, "-rA", "-p", "no:trio")
    assert outcomes(printed) == {"test_clock": "ERROR"}
    assert "need pytest-trio: pip install 'trio-dispatch[testing]'" in printed


def test_an_unused_plugin_imports_nothing_but_itself(tmp_path: Path) -> None:
    (tmp_path / "test_lazy.py").write_text(
        "import sys\n"
        "def test_lazy(request):\n"
        "    assert request.config.pluginmanager.hasplugin('trio_dispatch')\n"
        "    ours = {name for name in sys.modules if name.startswith('trio_dispatch')}\n"
        "    package = 'trio_dispatch.testing'\n"
        "    assert ours == {'trio_dispatch', package, f'{package}.plugin'}\n"
        "    assert 'trio' not in sys.modules\n"
    )
    others = [f"no:{plugin}" for plugin in ("trio", "hypothesispytest", "anyio")]
    printed = run_pytest(tmp_path, "-rA", *(arg for plugin in others for arg in ("-p", plugin)))
    assert outcomes(printed) == {"test_lazy": "PASSED"}, printed


def test_the_fixtures_are_listed(tmp_path: Path) -> None:
    printed = run_pytest(tmp_path, "--fixtures")
    for name, says in {
        "virtual_clock": "The wall clock of the test",
        "dispatch_service": "A dispatch service to test against",
        "dispatcher": "A dispatcher that follows microgrid 1",
    }.items():
        line = rf"^{name} -- .*trio_dispatch/testing/plugin\.py:\d+\n +{says}"
        assert re.search(line, printed, re.MULTILINE)
