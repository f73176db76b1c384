"""For the tests of programs that use trio-dispatch: the real service in memory, on virtual time.

With pytest-trio there are the fixtures `virtual_clock`, `dispatch_service` and `dispatcher`, too.
"""

from ..clock import VirtualClock
from .factory import make_dispatch
from .service import TEST_KEY, LocalService, open_test_service
from .virtual import deterministic, virtual_clock

__all__ = [
    "TEST_KEY",
    "LocalService",
    "VirtualClock",
    "deterministic",
    "make_dispatch",
    "open_test_service",
    "virtual_clock",
]
