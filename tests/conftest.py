"""Configuration for all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.effort import LONG, cases

if TYPE_CHECKING:
    from tests.helpers.postgres import PostgresServer

# A test never depends on how fast the machine is.
settings.register_profile(
    "trio-dispatch",
    max_examples=cases(50, long=500),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("trio-dispatch")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, since tests also wait for processes, disks and real time."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def postgres() -> PostgresServer:
    """A PostgreSQL server."""
    from tests.helpers.postgres import PostgresServer

    return PostgresServer()


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database in PostgreSQL."""
    with postgres.database() as url:
        yield url


def pytest_collection_finish() -> None:
    """Keep the garbage collector away from what was imported and collected, which is much."""
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the long tests unless `make test-long` runs them."""
    if LONG:
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
