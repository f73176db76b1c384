# ruff: noqa: I001 - one statement for each module

from .factory import make_dispatch as make_dispatch
from .service import (
    TEST_KEY as TEST_KEY,
    LocalService as LocalService,
    open_test_service as open_test_service,
)
from .virtual import (
    VirtualClock as VirtualClock,
    deterministic as deterministic,
    virtual_clock as virtual_clock,
)
