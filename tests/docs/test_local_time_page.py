"""The examples on the page about local time run as they stand."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_dispatch import LocalSchedule, TargetIds, clock, open_client
from trio_dispatch.model.recurrence.rfc5545 import parse_rrule
from trio_dispatch.testing import TEST_KEY, open_test_service

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "local-time.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PRINTED = re.findall(r"^```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_examples_print_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    expanding, _, skipping = PYTHON
    for example, printed in zip((expanding, skipping), PRINTED, strict=True):
        exec(example, {})
        assert capsys.readouterr().out == printed


async def test_a_schedule_is_created_once(autojump_clock: MockClock) -> None:
    names: dict[str, Any] = {}
    exec(PYTHON[1], names)
    create_missing = names["create_missing"]
    today = clock.now().date()
    schedule = LocalSchedule(
        timezone="Europe/Berlin",
        start=datetime.fromisoformat(f"{today - timedelta(days=100)}T12:00"),
        duration=timedelta(hours=26),
        recurrence=parse_rrule("FREQ=DAILY;INTERVAL=3"),
        type="CHARGE",
        target=TargetIds(1),
    )
    async with (
        open_test_service(keepalive=False) as service,
        open_client(channel=service.channel, key=TEST_KEY) as client,
    ):
        assert await create_missing(client, 1, schedule) == 3
        for _ in range(20):
            assert await create_missing(client, 1, schedule) == 0
            await trio.sleep(5 * 3600)
        await trio.sleep(200 * 24 * 3600)
        # Only what has come within reach since.
        assert await create_missing(client, 1, schedule) == 1
