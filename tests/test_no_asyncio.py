"""The library never starts an asyncio event loop."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

import trio_dispatch
from trio_dispatch import TargetIds, open_dispatcher
from trio_dispatch.testing import open_test_service


async def test_a_dispatcher_and_a_service_start_no_event_loop(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("an asyncio event loop was made")

    monkeypatch.setattr(asyncio, "new_event_loop", refuse)
    monkeypatch.setattr(asyncio.BaseEventLoop, "__init__", refuse)
    async with (
        open_test_service() as service,
        open_dispatcher(microgrid_id=1, channel=service.channel, key=service.key) as dispatcher,
    ):
        with dispatcher.running_status_change.new_receiver() as status:
            dispatch = await service.client.create(
                1,
                type="CHARGE",
                start_time="NOW",
                duration=timedelta(hours=1),
                target=TargetIds(1),
            )
            for _ in range(2):
                assert await status.receive() == dispatch
            pages = [page async for page in service.client.list(1)]
            assert [page.dispatches for page in pages] == [(dispatch,)]
            await service.drop_connections()
            await trio.sleep(600)
            await service.client.delete(1, dispatch.id)
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()


def test_no_module_imports_asyncio() -> None:
    root = Path(trio_dispatch.__file__).parent
    ours = [path for path in root.rglob("*.py") if "_generated" not in path.parts]
    assert len(ours) > 30
    importing = [
        path
        for path in ours
        if re.search(r"^\s*(import|from) asyncio", path.read_text(), re.MULTILINE)
    ]
    assert importing == []
