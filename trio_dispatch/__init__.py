"""Follow the dispatches of a microgrid on Trio.

`open_dispatcher` keeps in sync with a dispatch service.  It announces on two kinds of channels what
happens to the dispatches, and what is due to run.  `open_client` makes single calls.
"""

import lazy_loader

# What `__init__.pyi` names is imported when it is first used: drawing a picture or asking the
# command line for help does not load gRPC.
_attribute, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - takes long, is seldom asked for

        return version("trio-dispatch")
    return _attribute(name)
