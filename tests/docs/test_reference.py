"""The reference page."""

from __future__ import annotations

import re
from pathlib import Path

import trio_dispatch

PAGE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text()


def test_every_exported_name_is_described() -> None:
    exported = set(vars(trio_dispatch)["__all__"])
    assert exported - set(re.findall(r":: trio_dispatch\.(\w+)", PAGE)) == set()
