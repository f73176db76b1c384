"""The names that `trio_dispatch` itself exports."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version

import pytest

import trio_dispatch

# Computed, so type checkers do not know it.
EXPORTED: list[str] = vars(trio_dispatch)["__all__"]


@pytest.mark.parametrize("name", vars(trio_dispatch)["__all__"])
def test_every_exported_name_can_be_imported(name: str) -> None:
    assert getattr(trio_dispatch, name) is not None
    assert name in dir(trio_dispatch)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(trio_dispatch, "anything_else")


def test_the_version_is_that_of_the_distribution() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", trio_dispatch.__version__)
    assert trio_dispatch.__version__ == version("trio-dispatch")


def test_a_name_is_imported_at_its_first_use() -> None:
    code = (
        "import sys, trio_dispatch; assert 'trio' not in sys.modules; "
        "trio_dispatch.RecurrenceRule; assert 'grpclib' not in sys.modules; "
        "from trio_dispatch import *; open_dispatcher"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
