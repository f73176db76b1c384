"""The live page of the plan: an ASGI application over a client of a dispatch service.

The application has no access to a store.  It does everything through calls to the service with the
API key that a person has logged in with, so that the rights are those of the key.

- `page`: the application and its server together.
- `server`: connections, TLS and limits; runs an ASGI application on Trio.
- `site`: what the application works with; `app`: its routes.
- `guard`: security headers, and the checks of every request.
- `sessions`: who has logged in.
- `views`: a live copy of a microgrid for each key, shared by its pages; `feed`: its messages.
- `plan`, `records`, `forms`: pure functions between values and JSON.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
