"""Output: stdout may be a slow pipe, closed, or in another encoding; stderr never stops the work.

stdout is written with `os.write` in a thread.  So a reader that pauses holds up nothing else, and a
command that is cancelled does not wait for it: a thread that is abandoned within `sys.stdout` would
keep its lock, which the interpreter needs to exit.
"""

from __future__ import annotations

import codecs
import errno
import os
import select
import stat
import sys
from functools import lru_cache, partial
from typing import Self, TextIO

import click
import trio

from ... import clock
from .streams import tell

# stdout.


async def write(text: str) -> None:
    """Write to stdout.  A checkpoint.

    A character that the encoding of stdout lacks is written as its escape in JSON.  When cancelled,
    this returns at once; the text is then written as a whole, in part or not at all.

    Raises:
      BrokenPipeError: the reader has closed the pipe.
      click.ClickException: stdout cannot be written for another reason.
    """
    await _write(text, _ESCAPE)


async def write_drawing(text: str) -> None:
    """The same for a text with lines and bars: where the encoding lacks them they become ASCII."""
    await _write(text, _LOOKALIKE)


async def _write(text: str, errors: str) -> None:
    encoder = _encoder_for(sys.stdout)
    encoder.errors = errors
    await write_bytes(encoder.encode(text))


async def write_bytes(data: bytes) -> None:
    """Write to stdout as it is, whatever the encoding; see `write`."""
    out = sys.stdout
    try:
        try:
            descriptor = out.fileno()
        except (OSError, ValueError):  # not a file, as in a test
            out.write(data.decode(out.encoding or "utf-8"))
            await trio.lowlevel.checkpoint()
        else:
            out.flush()
            await write_to(descriptor, data)
    except OSError as exc:
        if exc.errno == errno.EPIPE:
            raise
        raise click.ClickException(f"stdout cannot be written: {exc.strerror}") from None


@lru_cache(maxsize=1)
def _encoder_for(out: TextIO) -> codecs.IncrementalEncoder:
    # It is kept, since some encodings begin with a byte order mark.
    return codecs.getincrementalencoder(out.encoding or "utf-8")()


async def write_to(descriptor: int, data: bytes) -> None:
    """Write to a file descriptor in a thread, which is abandoned when this is cancelled."""
    await clock.run_in_thread(_write_all, descriptor, data, abandon_on_cancel=True)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # another program has made it non-blocking
            select.select([], [descriptor], [])


async def end_with_reader() -> None:
    """Raise `BrokenPipeError` as soon as the reader of stdout closes the pipe.

    Returns if stdout is not a pipe.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return
    # Nothing is ever sent to us there: it becomes readable when the other end is closed.
    await trio.lowlevel.wait_readable(descriptor)
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Results:
    """Prints the results of work that was done, which an output that fails must not stop."""

    def __init__(self) -> None:
        self._error: OSError | click.ClickException | None = None

    async def write(self, text: str) -> None:
        """Write to stdout; if that failed, to stderr."""
        if self._error is None:
            try:
                await write(text)
                return
            except (OSError, click.ClickException) as exc:
                self._error = exc
                if isinstance(exc, click.ClickException):
                    tell(f"Warning: {exc.message}")
        if isinstance(self._error, click.ClickException):
            tell(text.rstrip("\n"))

    def check(self) -> None:
        """Raise `BrokenPipeError` if the reader has closed the pipe meanwhile."""
        if isinstance(self._error, OSError):
            raise self._error


# Characters that an encoding lacks.

_ESCAPE, _LOOKALIKE = "trio_dispatch.escape", "trio_dispatch.lookalike"
_LOOKALIKES = {
    ord(char): ascii_
    for chars, ascii_ in (
        ("─━═╌┄┈╴╶╸╺", "-"), ("│┃║╎┆┊▏▕▎▍╷╵╹╻", "|"), ("█▉▊▋▌▐■▆▇▓▅▄▀▪◼", "#"),
        ("░▒▁▂▃", ":"), ("◆◇♦●•◈", "*"), ("▶►▸→⟶", ">"), ("◀◄◂←", "<"), ("…", "."), ("·", "."),
        ("┌┐└┘├┤┬┴┼╭╮╰╯", "+"), ("▲△↑", "^"), ("▼▽↓", "v"),
    )
    for char in chars
}  # fmt: skip


def _escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    escapes = []
    for char in error.object[error.start : error.end]:
        code = ord(char)
        if code > 0xFFFF:
            code -= 0x10000
            escapes.append(f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}")
        else:
            escapes.append(f"\\u{code:04x}")
    return "".join(escapes), error.end


def _lookalike(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    char = error.object[error.start]
    if ord(char) in _LOOKALIKES:
        return _LOOKALIKES[ord(char)], error.start + 1
    return _escape(UnicodeEncodeError(error.encoding, char, 0, 1, ""))[0], error.start + 1


codecs.register_error(_ESCAPE, _escape)
codecs.register_error(_LOOKALIKE, _lookalike)


# stderr.


async def ask(question: str) -> bool:
    """Ask a question on the terminal, in a thread so that Ctrl-C ends the wait."""
    confirm = partial(click.confirm, question, err=True)
    return await clock.run_in_thread(confirm, abandon_on_cancel=True)


_INTERVAL = 0.1


class Progress:
    """Shows on stderr how much of some work is done, if that is a terminal.

    ``with Progress("listed") as progress``.  It updates one line at most ten times a second, and
    wipes it in the end.
    """

    def __init__(self, what: str, *, shown: bool | None = None) -> None:
        self._what = what
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._latest = trio.current_time()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def update(self, done: int, total: int | None) -> None:
        now = trio.current_time()
        if now - self._latest >= _INTERVAL:
            self._latest = now
            of = f" of {total:,}" if total else ""
            share = f" ({done * 100 // total} %)" if total else ""
            self._show(f"{done:,}{of} {self._what}{share}")

    def clear(self) -> None:
        """Wipe the line, so that something else can be written there."""
        self._show("")

    def _show(self, text: str) -> None:
        if self._shown:
            try:
                sys.stderr.write(f"\r\x1b[K{text}")
                sys.stderr.flush()
            except (OSError, ValueError):
                self._shown = False


# Colours.

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}


def use_color(color: str) -> bool:
    """Whether to print colours on stdout: ``always``, ``never``, or ``auto`` for a terminal."""
    if color == "auto":
        capable = os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
        return capable and sys.stdout.isatty()
    return color == "always"


def paint(text: str, style: str) -> str:
    """Return a text in a style such as ``bold green``."""
    if not text or not style:
        return text
    codes = ";".join(str(_CODES[word]) for word in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m"
