"""For the tests of programs that use trio-dispatch: the real service in memory, on virtual time.

With pytest-trio there are also the fixtures `virtual_clock`, `dispatch_service` and `dispatcher`.
"""

import lazy_loader

# pytest imports this package in every run, for its plugin: nothing may come with it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
