"""What the tests of actors share."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

# Test modules share what is in `acting`.
sys.path.insert(0, str(Path(__file__).parent))

from trio_dispatch.testing import LocalService, open_test_service


@pytest.fixture
async def service() -> AsyncIterator[LocalService]:
    async with open_test_service(keepalive=False) as service:
        yield service
