"""The page "Testing your actors", and the files of the project that it shows."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["BEGINNING", "FILES", "PAGE", "TESTS"]

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
FILES: dict[str, str] = dict(
    re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
)
BEGINNING = ("charging.py", "pytest.ini", "conftest.py", "test_charging.py")
"""The files that the page shows first, which are enough for a test."""
TESTS = sum(text.count("\nasync def test_") for text in FILES.values())
"""How many tests they hold."""
