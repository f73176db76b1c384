"""The page about installing, and what other pages say about it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRAS = set(
    tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
)


def test_the_table_of_extras_is_complete() -> None:
    page = (ROOT / "docs/install.md").read_text()
    assert set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)) == EXTRAS


def test_every_extra_that_a_page_installs_exists() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        if "_build" not in page.parts:
            for names in re.findall(r"(?:trio-dispatch|\.)\[([a-z,-]+)\]", page.read_text()):
                assert set(names.split(",")) <= EXTRAS, page
