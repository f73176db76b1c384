"""`trio_dispatch.run`: what does not need a process of its own; see also tests/interop."""

from __future__ import annotations

import signal
import threading

import pytest
import trio
import trio.lowlevel

import trio_dispatch
from trio_dispatch.process import notify_ready

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def interrupted(number: signal.Signals, events: list[str]) -> None:
    """Signal this process, and record the cancellation."""
    try:
        signal.raise_signal(number)
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            events.append("cleaned up")


async def add(a: int, b: int) -> int:
    await trio.lowlevel.checkpoint()
    return a + b


def test_the_value_of_main_is_returned() -> None:
    assert trio_dispatch.run(add, 2, 3) == 5


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_cancels_main_and_sets_the_exit_status(number: signal.Signals) -> None:
    events: list[str] = []
    with pytest.raises(SystemExit) as caught:
        trio_dispatch.run(interrupted, number, events)
    assert caught.value.code == 128 + number
    assert events == ["cleaned up"]


def test_a_main_that_handles_the_cancellation_returns_its_value() -> None:
    async def main() -> str:
        with trio.CancelScope() as scope:
            signal.raise_signal(signal.SIGTERM)
            scope.shield = True
            await trio.sleep(0.01)
        return "drained"

    assert trio_dispatch.run(main) == "drained"


def test_an_error_of_main_is_raised_as_it_is() -> None:
    async def main() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        trio_dispatch.run(main)


def test_an_error_during_the_cleanup_is_raised() -> None:
    async def main() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()
        finally:
            raise KeyError("x")

    with pytest.raises(KeyError):
        trio_dispatch.run(main)


def test_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    trio_dispatch.run(add, 2, 3)
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_an_ignored_signal_stays_ignored() -> None:
    async def main() -> str:
        signal.raise_signal(signal.SIGINT)
        await trio.lowlevel.checkpoint()
        return "not cancelled"

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert trio_dispatch.run(main) == "not cancelled"
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_it_only_runs_main() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(trio_dispatch.run(add, 2, 3)))
    thread.start()
    thread.join(30)
    assert found == [5]


@pytest.mark.parametrize(
    ("name", "value"), [("NOTIFY_SOCKET", "vsock:2:1234"), ("WATCHDOG_USEC", "often")]
)
def test_an_invalid_systemd_variable_is_logged(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent")
    monkeypatch.setenv(name, value)
    assert trio_dispatch.run(add, 2, 3) == 5
    assert f"{name}={value!r}" in caplog.text


def test_a_systemd_that_is_gone_does_not_stop_the_program(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/notify")
    assert trio_dispatch.run(add, 2, 3) == 5
    assert "systemd was not sent STOPPING=1: [Errno 2]" in caplog.text


def test_notify_ready_needs_no_run() -> None:
    notify_ready()
    trio.run(trio.to_thread.run_sync, notify_ready)
