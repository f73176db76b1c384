"""Run a Trio program as a well-behaved process: signals, exit status and systemd notifications."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar, TypeVarTuple

import trio

__all__ = ["notify_ready", "reloading", "run", "wait_stopping"]

log = logging.getLogger("trio_dispatch.process")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(main: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """Run an async function like `trio.run`, and stop it cleanly on SIGTERM and SIGINT.

    The first signal cancels `main`: ``finally`` blocks run and every actor sends its last command.
    If the cancellation ends `main`, the process exits with the status that shells give to a
    process which the signal killed: 143 for SIGTERM, 130 for SIGINT (Ctrl-C), without a traceback.
    If `main` handles the cancellation and returns, its value is returned as usual.  A second signal
    ends the process at once, with the same status and without any further cleanup.  Signals that
    the process was started to ignore stay ignored.

    ::

        async def main() -> None:
            async with trio_dispatch.open_dispatcher(microgrid_id=1) as dispatcher:
                await dispatcher.run_actors("CHARGE", charge)

        if __name__ == "__main__":
            trio_dispatch.run(main)

    Under systemd (``Type=notify``) the service manager is told that the program is ready, see
    `notify_ready`, and that it is stopping.  With ``WatchdogSec=`` the watchdog is fed from the
    Trio loop, so systemd also restarts a program whose loop is blocked.  systemd counts status 143
    as a failure unless the unit has ``SuccessExitStatus=143``.

    Call it from the main thread.  In any other thread Python cannot handle signals, and this only
    runs `main` and notifies systemd.

    Raises:
      SystemExit: a signal cancelled `main`.
    """
    stop = _Stop()
    with stop.on_signals():
        return trio.run(_run, main, args, stop)


def notify_ready() -> None:
    """Tell systemd that the program has started.  Does nothing outside of `run` or systemd.

    `open_dispatcher` calls it when the dispatches are known.  Call it yourself in a program without
    a dispatcher.  Only the first call in a run has an effect.
    """
    if trio.lowlevel.in_trio_run() and (systemd := _systemd.get(None)) is not None:
        systemd.ready()


@contextmanager
def reloading() -> Iterator[None]:
    """Tell systemd that the program reads its configuration again, for the time of the block.

    For a unit with ``Type=notify-reload``: ``systemctl reload`` sends SIGHUP, and returns when the
    block is left, whether or not it raises.  Does nothing outside of `run` or systemd.
    """
    systemd = _systemd.get(None) if trio.lowlevel.in_trio_run() else None
    if systemd is None:
        yield
        return
    systemd.reloading()
    try:
        yield
    finally:
        systemd.reloaded()


async def wait_stopping() -> None:
    """Wait until a signal asks the program to stop, see `run`; for ever outside of `run`.

    For a program that has work to finish before it returns: shield the work from cancellation, and
    let it end when this returns.
    """
    stop = _stop.get(None)
    if stop is None:
        await trio.sleep_forever()
    await stop.requested.wait()


async def _run(main: Callable[[*Ts], Awaitable[T]], args: tuple[*Ts], stop: _Stop) -> T:
    _stop.set(stop)
    systemd = _Systemd.from_environment()
    if systemd is None:
        return await stop.run(main, args)
    _systemd.set(systemd)
    stop.stopping = systemd.stopping
    # A system task, because a nursery of our own would wrap the errors of `main` in a group.
    trio.lowlevel.spawn_system_task(systemd.serve)
    return await stop.run(main, args)


class _Stop:
    """Cancels the main function on the first signal, and exits on the second one.

    Attributes:
      requested: Set by the first signal.
      stopping: Called when the main function is cancelled or has ended.
    """

    def __init__(self) -> None:
        self.requested = trio.Event()
        self.stopping: Callable[[], None] = lambda: None
        self._number = 0
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
        handled = [n for n, handler in before.items() if handler not in (signal.SIG_IGN, None)]
        try:
            for number in handled:
                signal.signal(number, self._on_signal)
            yield
        finally:
            for number in handled:
                signal.signal(number, before[number])

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._number:
            # The cleanup may be what hangs, and a shield cannot be cancelled: run nothing more.
            os._exit(128 + number)
        self._number = number
        if self._token is not None:
            self._token.run_sync_soon(self._cancel)

    def _cancel(self) -> None:
        name = signal.Signals(self._number).name
        log.info("stopping on %s; a second signal ends the program without cleanup", name)
        self.stopping()
        self.requested.set()
        self._scope.cancel()

    async def run(self, main: Callable[[*Ts], Awaitable[T]], args: tuple[*Ts]) -> T:
        """Run a function until it returns, or until a signal cancels it.

        Raises:
          SystemExit: a signal cancelled it.
        """
        self._token = trio.lowlevel.current_trio_token()
        if self._number:  # a signal came while Trio was starting
            self._cancel()
        try:
            with self._scope:
                return await main(*args)
        finally:
            self.stopping()
        raise SystemExit(128 + self._number)


class _Systemd:
    """The notification protocol of systemd, see ``man 3 sd_notify``."""

    def __init__(self, address: str, watchdog: float | None) -> None:
        self._address = address
        self._watchdog = watchdog
        self._sent: set[str] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    @classmethod
    def from_environment(cls) -> _Systemd | None:
        """The service manager that started this process, if it expects notifications."""
        address = os.environ.get("NOTIFY_SOCKET", "")
        if not address:
            return None
        if address[0] not in "/@":
            log.warning("NOTIFY_SOCKET=%r is not supported: use a path or @name", address)
            return None
        # A leading @ stands for the null byte of Linux's abstract namespace.
        return cls("\0" + address[1:] if address[0] == "@" else address, _watchdog_period())

    def ready(self) -> None:
        self._send_once("READY=1")

    def reloading(self) -> None:
        # The time tells systemd that this was sent after its signal.
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def reloaded(self) -> None:
        self._send("READY=1")

    def stopping(self) -> None:
        self._send_once("STOPPING=1")

    async def serve(self) -> None:
        """Feed the watchdog, if there is one, until cancelled; then close the socket."""
        with self._socket:
            while self._watchdog is not None:
                self._send("WATCHDOG=1")
                await trio.sleep(self._watchdog / 2)  # systemd expects two in each period
            await trio.sleep_forever()

    def _send_once(self, message: str) -> None:
        if message not in self._sent:
            self._sent.add(message)
            self._send(message)

    def _send(self, message: str) -> None:
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as exc:
            log.warning("systemd was not sent %s: %s", message, exc)


def _watchdog_period() -> float | None:
    """The seconds in which systemd expects a sign of life; None if it expects none of us."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = os.environ.get("WATCHDOG_USEC")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text)):
        log.warning("WATCHDOG_USEC=%r is not a number of microseconds", text)
        return None
    return int(text) / 1e6


_systemd: trio.lowlevel.RunVar[_Systemd | None] = trio.lowlevel.RunVar("trio_dispatch systemd")
_stop: trio.lowlevel.RunVar[_Stop | None] = trio.lowlevel.RunVar("trio_dispatch stop")
