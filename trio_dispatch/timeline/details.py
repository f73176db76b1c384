"""The details of a bar, for tooltips."""

from __future__ import annotations

from datetime import datetime

from ..model.dispatch import Dispatch
from ..model.formatting import format_duration, format_target
from ..model.recurrence.description import describe_rule
from .diagram import Bar
from .window import Window
from .words import clean, moment_text, payload_text, shorten, span_text

__all__ = ["Details"]

_LONG = 300


class Details:
    """Describes bars.  What all bars of a dispatch have in common is computed once."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._known: dict[int, list[tuple[str, str]]] = {}

    def title(self, bar: Bar, brief: bool) -> str:
        """Return all details of a bar in lines, or if `brief` only what it is and when."""
        lines = self.lines(bar)[: 2 if brief else None]
        return "\n".join(f"{name}: {text}" if name else text for name, text in lines)

    def lines(self, bar: Bar) -> list[tuple[str, str]]:
        """Return all details of a bar: names and values.  The first has no name."""
        if bar.others:
            return [
                ("", f"{bar.others + 1} that cannot be told apart"),
                ("time", span_text(bar.run.start, bar.run.end, self._window.zone)),
            ]
        head, *rest = self.of_dispatch(bar.dispatch)
        return [head, ("time", self.time(bar)), *rest]

    def time(self, bar: Bar) -> str:
        """Return when a bar runs, and how."""
        text = span_text(bar.run.start, bar.run.end, self._window.zone)
        if bar.run.many:
            short = "pulses" if bar.dispatch.is_pulse else "runs"
            text += f", many {short} one after the other"
        return f"{text}, overridden" if bar.overridden else text

    def of_dispatch(self, dispatch: Dispatch) -> list[tuple[str, str]]:
        """Return the details that all bars of a dispatch have in common."""
        # By identity: the dispatches of a picture may have the same id.
        known = self._known.get(id(dispatch))
        if known is None:
            known = self._known[id(dispatch)] = list(self._describe(dispatch))
        return known

    def _describe(self, dispatch: Dispatch) -> list[tuple[str, str]]:
        dry = ", dry run" if dispatch.dry_run else ""
        following = dispatch.first_after(self._window.now)
        rule = describe_rule(dispatch.effective_recurrence, dispatch.start_time, self._moment)
        lines = [
            ("", f"{shorten(clean(dispatch.type), _LONG, len)} #{dispatch.id}{dry}"),
            ("duration", format_duration(dispatch.duration)),
            ("target", shorten(format_target(dispatch.target) or "no target", _LONG, len)),
            ("payload", shorten(payload_text(dispatch), _LONG, len)),
            ("recurs", shorten(rule, _LONG, len)),
            ("next", self._moment(following)),
        ]
        return [(name, text) for name, text in lines if text]

    def _moment(self, moment: datetime | None) -> str:
        return "" if moment is None else moment_text(moment, self._window.zone)
