"""Fixtures of the service tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.service import OpenStore
from trio_dispatch.service import Store, open_store


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def open_any_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Open a store; if it is in a file or a database, the same one each time."""
    match request.param:
        case "sqlite":
            path = str(tmp_path / "dispatches.db")
            return lambda: open_store(path)
        case "postgres":
            url = request.getfixturevalue("database")
            return lambda: open_store(url)
        case _:
            return lambda: open_store(None)


@pytest.fixture
async def store(open_any_store: OpenStore) -> AsyncIterator[Store]:
    async with open_any_store() as store:
        yield store
