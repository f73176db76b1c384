"""The reference pages."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import trio_dispatch
import trio_dispatch.grpc
import trio_dispatch.metrics
import trio_dispatch.service
import trio_dispatch.testing
import trio_dispatch.timeline

REFERENCE = Path(__file__).parents[2] / "docs/reference"


@pytest.mark.parametrize(
    "package",
    [
        trio_dispatch,
        trio_dispatch.grpc,
        trio_dispatch.metrics,
        trio_dispatch.service,
        trio_dispatch.testing,
    ],
)
def test_every_exported_name_is_described(package: ModuleType) -> None:
    exported = set(vars(package)["__all__"])
    pages = "".join(page.read_text() for page in REFERENCE.glob("*.md"))
    described = re.findall(rf":: {re.escape(package.__name__)}\.(\w+)", pages)
    assert exported - set(described) == set()


def test_the_names_of_timeline_are_those_of_the_top_level() -> None:
    assert set(vars(trio_dispatch.timeline)["__all__"]) <= set(vars(trio_dispatch)["__all__"])
