"""The reference pages."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import trio_dispatch
import trio_dispatch.grpc

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("package", "page"), [(trio_dispatch, "reference.md"), (trio_dispatch.grpc, "grpc.md")]
)
def test_every_exported_name_is_described(package: ModuleType, page: str) -> None:
    exported = set(vars(package)["__all__"])
    described = re.findall(rf":: {re.escape(package.__name__)}\.(\w+)", (DOCS / page).read_text())
    assert exported - set(described) == set()
