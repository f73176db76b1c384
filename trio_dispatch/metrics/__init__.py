"""Metrics of dispatchers for Prometheus; ``pip install 'trio-dispatch[metrics]'``.

::

    async with (
        open_dispatcher(microgrid_id=1, name="site-7") as dispatcher,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(partial(serve_metrics, DispatcherCollector(dispatcher), port=9464))
        ...
"""

import lazy_loader

# The service uses `http`, and no dispatcher.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
