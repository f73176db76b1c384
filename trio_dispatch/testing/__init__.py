"""For the tests of programs that use trio-dispatch: the real service in memory, on virtual time."""

from .factory import make_dispatch
from .service import TEST_KEY, LocalService, open_test_service

__all__ = ["TEST_KEY", "LocalService", "make_dispatch", "open_test_service"]
