"""The wire contract: the generated messages, and their conversion to and from the model."""

import lazy_loader

# Runs and dispatchers, such as `api.runs`, are imported when they are first used: few programs need
# them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
