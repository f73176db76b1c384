"""The fixtures of trio-dispatch: a pytest plugin, which costs nothing where they are not used.

It lies beside the package, for pytest imports every installed plugin before it does anything else:
inside, it would import all of the package in every run, and before its coverage is measured.
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
    """Lets the test run on virtual time, and the same each time."""
    if not request.config.pluginmanager.hasplugin("trio"):
        pytest.fail(
            "the fixtures of trio-dispatch need pytest-trio: pip install 'trio-dispatch[testing]'",
            pytrace=False,
        )
    if request.node.get_closest_marker("trio") is None:
        pytest.fail(
            f"{request.node.name} uses fixtures of trio-dispatch and is no Trio test: make it an"
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
    """Runs a test as pytest-trio does, except for the clock that it gets if it has none."""
    import trio.testing

    from trio_dispatch.testing import deterministic

    if clock is None:
        clock = trio.testing.MockClock(autojump_threshold=0)
    with deterministic():
        return (inner or trio.run)(main, clock=clock, instruments=instruments)


@pytest.fixture
async def virtual_clock(_virtual_run: None) -> VirtualClock:
    """The wall clock of the test, see `trio_dispatch.testing.VirtualClock`.

    The test runs on a `MockClock` that jumps ahead whenever all tasks wait, unless it takes one of
    its own as an argument; and the same each time, see `trio_dispatch.testing.deterministic`.
    """
    from trio_dispatch.testing import virtual_clock

    try:
        return virtual_clock()
    except RuntimeError as exc:
        raise RuntimeError(
            f"{exc}; Hypothesis, which runs its tests by itself, cannot give it this one: take"
            " pytest-trio's fixture `autojump_clock` instead of this, and `open_test_service`"
        ) from None


@pytest.fixture
async def dispatch_service(virtual_clock: VirtualClock) -> AsyncIterator[LocalService]:
    """A dispatch service to test against, see `trio_dispatch.testing.LocalService`."""
    from trio_dispatch.testing import open_test_service

    async with open_test_service(keepalive=False) as service:
        yield service


@pytest.fixture
async def dispatcher(dispatch_service: LocalService) -> AsyncIterator[Dispatcher]:
    """A dispatcher that follows microgrid 1 of `dispatch_service`."""
    from trio_dispatch import open_dispatcher

    async with open_dispatcher(
        microgrid_id=1, channel=dispatch_service.channel, key=dispatch_service.key
    ) as dispatcher:
        yield dispatcher
