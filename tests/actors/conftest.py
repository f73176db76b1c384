"""Fixtures for the tests of actors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from trio_dispatch.testing import LocalService, open_test_service


@pytest.fixture
async def service() -> AsyncIterator[LocalService]:
    async with open_test_service(keepalive=False) as service:
        yield service
