"""The peers as fixtures."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.interop.ccore import KEY, CCoreService, start_service
from tests.helpers.interop.ours import OurService, serve_here
from tests.helpers.interop.peers import Peer, start_script
from trio_dispatch import DispatchClient, open_client
from trio_dispatch.service import Keys


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the URL, key and secret of the user who runs the tests."""
    for name in list(os.environ):
        if name.startswith(("DISPATCH_API_", "FREQUENZ_API_")):
            monkeypatch.delenv(name)


@pytest.fixture
async def ccore(clean_environment: None) -> AsyncIterator[CCoreService]:
    """A dispatch service on C-core gRPC."""
    async with start_service() as service:
        yield service


@pytest.fixture
async def client(ccore: CCoreService) -> AsyncIterator[DispatchClient]:
    """Our client, connected to the service on C-core gRPC."""
    async with open_client(ccore.url, key=KEY) as client:
        yield client


@pytest.fixture
async def service(clean_environment: None, tmp_path: Path) -> AsyncIterator[OurService]:
    """Our service, with a database file."""
    async with serve_here(tmp_path / "dispatches.db", Keys.of(KEY)) as service:
        yield service


@pytest.fixture
async def ours(service: OurService) -> AsyncIterator[DispatchClient]:
    """Our client, connected to our service."""
    async with open_client(service.url, key=KEY) as client:
        yield client


@pytest.fixture
async def official(service: OurService) -> AsyncIterator[Peer]:
    """The official client, connected to our service."""
    async with start_script("official_client", service.url, KEY) as peer:
        yield peer
