"""The pytest plugin: fixtures that run a test on virtual time, with a service and a dispatcher.

pytest imports every installed plugin in every run, before coverage is measured.  So this module
imports the rest of the package only when a fixture is used.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import trio

    from trio_dispatch import Dispatcher
    from trio_dispatch.testing import LocalService, VirtualClock


@pytest.fixture
def _virtual_run(request: pytest.FixtureRequest) -> None:
    """Make the test run on virtual time, and the same way each time."""
    if not request.config.pluginmanager.hasplugin("trio"):
        pytest.fail(
            "the fixtures of trio-dispatch need pytest-trio: pip install 'trio-dispatch[testing]'",
            pytrace=False,
        )
    if request.node.get_closest_marker("trio") is None:
        pytest.fail(
            f"{request.node.name} uses fixtures of trio-dispatch but is not a Trio test: make it an"
            " `async def`, with `trio_mode = true` in pytest's configuration, or with the marker"
            " `pytest.mark.trio`",
            pytrace=False,
        )
    given = (mark.kwargs.get("run") for mark in request.node.iter_markers("trio"))
    inner = next(filter(None, given), None)
    request.node.add_marker(pytest.mark.trio(run=partial(_run, inner)), append=False)


def _run(
    inner: Callable[..., Any] | None,
    main: Callable[[], Awaitable[Any]],
    *,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> Any:
    """Run a test as pytest-trio does, but on a `MockClock` unless the test brings a clock."""
    import trio.testing

    from trio_dispatch.testing import deterministic

    if clock is None:
        clock = trio.testing.MockClock(autojump_threshold=0)
    with deterministic():
        return (inner or trio.run)(main, clock=clock, instruments=instruments)


@pytest.fixture
async def virtual_clock(_virtual_run: None) -> VirtualClock:
    """The wall clock of the test, see `trio_dispatch.testing.VirtualClock`.

    The test runs on a `MockClock` that jumps ahead whenever all tasks wait, unless it takes another
    clock as an argument.  It runs the same way each time, see
    `trio_dispatch.testing.deterministic`.
    """
    from trio_dispatch.testing import virtual_clock

    try:
        return virtual_clock()
    except RuntimeError as exc:
        raise RuntimeError(
            f"{exc}; Hypothesis runs its tests itself and ignores this fixture's clock: use"
            " pytest-trio's fixture `autojump_clock` and `open_test_service` instead"
        ) from None


@pytest.fixture
async def dispatch_service(virtual_clock: VirtualClock) -> AsyncIterator[LocalService]:
    """A dispatch service to test against, see `trio_dispatch.testing.LocalService`."""
    from trio_dispatch.testing import open_test_service

    async with open_test_service(keepalive=False) as service:
        yield service


@pytest.fixture
async def dispatcher(dispatch_service: LocalService) -> AsyncIterator[Dispatcher]:
    """A dispatcher that follows microgrid 1 of `dispatch_service`, already in sync.

    It reports what runs: `LocalService.runs` returns it.
    """
    from trio_dispatch import open_dispatcher

    async with open_dispatcher(
        microgrid_id=1,
        channel=dispatch_service.channel,
        key=dispatch_service.key,
        name="test",
    ) as dispatcher:
        yield dispatcher
