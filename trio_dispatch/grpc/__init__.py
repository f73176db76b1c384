"""gRPC on Trio: a channel and a server for generated code.

That is the code which betterproto2, grpclib or grpcio-tools generates.

It runs over any `trio.abc.Stream`, follows Trio's rules of cancellation and of time, and never
starts an asyncio event loop.
"""

import lazy_loader

# What `__init__.pyi` names is imported when it is first used: a client does not load the server.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
