"""What the application works with: the service, the sessions, the views, and what limits them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import trio
from starlette.requests import Request
from starlette.responses import Response

from ..client.client import DispatchClient
from ..client.errors import ServiceError
from ..grpc import Channel, Status
from ..model.expansion import Components
from .errors import PageError, page_error_of
from .guard import is_secure
from .sessions import Credentials, KeyInfo, LoginLimit, Session, Sessions
from .views import View, Views, open_views

__all__ = ["Backend", "Site", "open_site"]

log = logging.getLogger("trio_dispatch.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """The service that the page shows.

    Attributes:
      channel: A channel to it.
      keys_required: Whether people have to log in.
      find_key: Returns what is known of an API key, None if it is not valid; None if nothing can be
        known, since the service is elsewhere.
      microgrids: The microgrids to offer to a key that is valid for all.
      components: What the components are, to resolve targets by category.
      span: How much time the plan shows at first.
    """

    channel: Channel
    keys_required: bool = True
    find_key: Callable[[str], KeyInfo | None] | None = None
    microgrids: Collection[int] = ()
    components: Components | None = None
    span: timedelta = timedelta(days=1)


class Site:
    """The state of the application.

    Attributes:
      backend: The service.
      sessions: Who has logged in.
      stopping: Set when the page is to be closed.
    """

    def __init__(self, backend: Backend, views: Views) -> None:
        self.backend = backend
        self.sessions = Sessions()
        self.stopping = trio.Event()
        self._views = views
        self._limit = LoginLimit()

    def stop(self) -> None:
        """End all streams of events."""
        self.stopping.set()

    # Sessions.

    async def log_in(self, key: str, secret: str | None, address: str) -> Session:
        """Begin a session for an API key.

        Raises:
          PageError: the key is invalid, there were too many attempts, or the service cannot be
            reached.
        """
        if not self._limit.allows(address):
            log.warning("refused a log-in from %s: too many attempts", address)
            raise PageError(429, "rate_limited", "too many attempts: wait a moment", retry_after=1)
        info: KeyInfo | None = KeyInfo()
        if self.backend.find_key is not None:
            info = self.backend.find_key(key)
        credentials = Credentials(key, secret)
        if info is None or not await self._accepts(credentials, info):
            log.warning("refused a log-in from %s: the key is invalid", address)
            raise PageError(401, "invalid_key", "this API key is not valid")
        log.info("log-in from %s with key %r", address, info.name)
        return self.sessions.begin(credentials, info)

    async def _accepts(self, credentials: Credentials, info: KeyInfo) -> bool:
        """Whether the service accepts a key, which need not permit anything."""
        microgrid_id = min(info.microgrids or self.backend.microgrids or (1,))
        # A service without keys, which was away when the page started, would accept any text.
        if (
            self.backend.find_key is None
            and await self._status(Credentials(), microgrid_id) is Status.OK
        ):
            raise PageError(503, "unavailable", "the service has no keys: restart the page")
        return await self._status(credentials, microgrid_id) is not Status.UNAUTHENTICATED

    async def _status(self, credentials: Credentials, microgrid_id: int) -> Status:
        """Return how the service answers credentials, without calling it if they are invalid."""
        try:
            client = self._client(credentials)
            async with aclosing(client.list(microgrid_id, page_size=1)) as pages:
                async for _ in pages:
                    break
        except ValueError:
            return Status.UNAUTHENTICATED
        except ServiceError as exc:
            if exc.status in {Status.UNAUTHENTICATED, Status.PERMISSION_DENIED}:
                return exc.status
            raise page_error_of(exc) from exc
        return Status.OK

    def begin_open(self) -> Session:
        """Begin a session at a service without keys."""
        return self.sessions.begin(Credentials(), KeyInfo())

    def find_session(self, request: Request) -> Session | None:
        """Return the session of a request, if it has one."""
        cookies = request.cookies
        id_ = cookies.get(_cookie(request, secure=True))
        if id_ is None and request.scope["scheme"] == "http":
            id_ = cookies.get(_cookie(request, secure=False))
        session = None if id_ is None else self.sessions.find(id_)
        if session is not None and not self._is_valid(session):
            log.info("the session of key %r ends: the key is not valid any more", session.info.name)
            self.sessions.end(session)
            return None
        return session

    def _is_valid(self, session: Session) -> bool:
        find, key = self.backend.find_key, session.credentials.key
        return find is None or key is None or find(key) == session.info

    def session(self, request: Request) -> Session:
        """Return the session of a request.

        Raises:
          PageError: it has none.
        """
        found = self.find_session(request)
        if found is None:
            raise PageError(401, "login_required", "log in first")
        return found

    def set_cookie(self, request: Request, response: Response, session: Session) -> None:
        """Give the browser the id of its session."""
        secure = is_secure(request.scope)
        response.set_cookie(
            _cookie(request, secure=secure),
            session.id,
            path="/",
            secure=secure,
            httponly=True,
            samesite="strict",
        )

    def log_out(self, request: Request, response: Response) -> None:
        """End the session of a request."""
        session = self.find_session(request)
        if session is not None:
            self.sessions.end(session)
        for secure in {False, is_secure(request.scope)}:
            name = _cookie(request, secure=secure)
            response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")

    # What sessions see.

    async def view(self, session: Session, microgrid_id: int) -> View:
        """Return the live view of a microgrid.

        Raises:
          PageError: the key does not permit to read it, or the service cannot be reached.
        """
        require(session, "read", microgrid_id)
        return await self._views.get(session.credentials, microgrid_id)

    def client(self, session: Session) -> DispatchClient:
        """Return a client with the key of a session."""
        return self._client(session.credentials)

    def _client(self, credentials: Credentials) -> DispatchClient:
        return DispatchClient(
            self.backend.channel, key=credentials.key, sign_secret=credentials.secret
        )


def _cookie(request: Request, *, secure: bool) -> str:
    """Return the name of the cookie; browsers share cookies between the ports of a host."""
    server = request.scope.get("server")
    port = "" if server is None or server[1] is None else f"-{server[1]}"
    return f"{'__Host-' if secure else ''}trio-dispatch{port}"


def require(session: Session, right: str, microgrid_id: int) -> None:
    """Check a right at once; the service checks it, too.

    Raises:
      PageError: the key does not have it.
    """
    info = session.info
    if right not in info.rights or (
        info.microgrids is not None and microgrid_id not in info.microgrids
    ):
        raise PageError(403, "forbidden", "the key does not permit this")


@asynccontextmanager
async def open_site(backend: Backend) -> AsyncIterator[Site]:
    """Open what an application works with; leaving the block ends it."""
    async with open_views(backend.channel) as views:
        yield Site(backend, views)
