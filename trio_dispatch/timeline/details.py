"""What a picture tells about a bar when asked."""

from __future__ import annotations

from datetime import datetime

from ..model.dispatch import Dispatch
from ..model.formatting import format_duration, format_target
from ..model.recurrence.description import describe_rule
from .plan import Bar
from .window import Window
from .words import clean, moment_text, payload_text, shorten, span_text

__all__ = ["Details"]

_LONG = 300


class Details:
    """The details of bars, with what is the same for all bars of a dispatch worked out once."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._known: dict[int, list[tuple[str, str]]] = {}

    def title(self, bar: Bar, brief: bool) -> str:
        """All about a bar in lines, or only what and when it is."""
        lines = self.lines(bar)[: 2 if brief else None]
        return "\n".join(f"{name}: {text}" if name else text for name, text in lines)

    def lines(self, bar: Bar) -> list[tuple[str, str]]:
        """All about a bar: names and values.  The first is what it is, and has no name."""
        if bar.others:
            return [
                ("", f"{bar.others + 1} bars share this lane"),
                ("time", span_text(bar.run.start, bar.run.end, self._window.zone)),
            ]
        head, *rest = self.of_dispatch(bar.dispatch)
        return [head, ("time", self.time(bar)), *rest]

    def time(self, bar: Bar) -> str:
        """When it runs, and for how long."""
        span = span_text(bar.run.start, bar.run.end, self._window.zone)
        if bar.run.many:
            short = "pulses" if bar.dispatch.is_pulse else "runs"
            return f"{span}, many {short} one after the other"
        return span

    def of_dispatch(self, dispatch: Dispatch) -> list[tuple[str, str]]:
        """What is the same for all bars of a dispatch."""
        # Nothing says that ids are unique in what somebody wants to see.
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
