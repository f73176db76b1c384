"""What is imported from `trio_dispatch` itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

import trio_dispatch


@pytest.mark.parametrize("name", trio_dispatch.__all__)
def test_a_public_name_is_what_its_module_defines(name: str) -> None:
    value = getattr(trio_dispatch, name)
    home = f"trio_dispatch.{trio_dispatch._MODULE_OF[name]}"
    assert value is getattr(sys.modules[home], name)
    assert name in dir(trio_dispatch)


def test_there_are_no_others() -> None:
    assert not hasattr(trio_dispatch, "anything_else")


def test_only_what_is_asked_for_is_imported() -> None:
    code = (
        "import sys, trio_dispatch; assert 'trio' not in sys.modules; "
        "trio_dispatch.RecurrenceRule; assert 'grpclib' not in sys.modules; "
        "from trio_dispatch import *; open_dispatcher"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
