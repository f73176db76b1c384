"""The page "Testing your actors", and the files of the project that it shows."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["FILES", "PAGE", "TESTS", "without_times"]

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
FILES: dict[str, str] = dict(
    re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
)
TESTS = sum(text.count("\nasync def test_") for text in FILES.values())
"""How many tests they hold."""


def without_times(printed: str) -> str:
    """What pytest printed, without durations and the rules that depend on their width."""
    return re.sub(r"\d+\.\d+s|=+(?= |$)", "", printed, flags=re.MULTILINE)
