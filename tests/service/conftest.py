"""Fixtures of the service tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.service import OpenStore
from trio_dispatch.service import Store, open_store


@pytest.fixture(params=["memory", "sqlite"])
def open_any_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Open a store; if it is in a file, the same one each time."""
    path = tmp_path / "dispatches.db" if request.param == "sqlite" else None
    return lambda: open_store(path)


@pytest.fixture
async def store(open_any_store: OpenStore) -> AsyncIterator[Store]:
    async with open_any_store() as store:
        yield store
