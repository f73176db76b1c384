"""The tests of this folder themselves."""

from __future__ import annotations

import pytest

from tests.helpers.interop.peers import PeerError, interop_python


def test_missing_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_DISPATCH_INTEROP_PYTHON", "/nowhere/python")
    with pytest.raises(PeerError, match="run `make test`"):
        interop_python()
