"""Who has logged in: the sessions of people, kept in memory behind random ids."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import trio

from .. import clock
from ..concurrency.token_bucket import TokenBucket

__all__ = ["Credentials", "KeyInfo", "LoginLimit", "Session", "Sessions"]

IDLE = timedelta(hours=12)
"""A session expires if it was not used for this long; an open page uses it."""

LONGEST = timedelta(days=30)
"""A session expires this long after the log-in."""

_MOST = 1000
_ADDRESSES = 1000


@dataclass(frozen=True, slots=True)
class Credentials:
    """What requests to the service carry.  The `repr` shows neither key nor secret.

    Attributes:
      key: The API key; None for a service without keys.
      secret: The secret with which requests are signed, if the key has one.
    """

    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What is known of an API key.

    Attributes:
      name: The name in logs; empty if it is not known.
      rights: The names of the rights.
      microgrids: The microgrids that the key is valid for; None for all.
    """

    name: str = ""
    rights: frozenset[str] = frozenset({"read", "write", "report"})
    microgrids: frozenset[int] | None = None


@dataclass(eq=False)
class Session:
    """A person who has logged in.

    Attributes:
      id: The random id, which only the cookie has.
      credentials: The API key.
      info: What is known of the key.
      began: When the person logged in.
      used: When it was last used.
      ended: Set when the person has logged out, or the session has expired.
    """

    id: str = field(repr=False)
    credentials: Credentials
    info: KeyInfo
    began: datetime
    used: datetime
    ended: trio.Event = field(default_factory=trio.Event, repr=False)

    @property
    def expires(self) -> datetime:
        """When it expires unless it is used."""
        return min(self.used + IDLE, self.began + LONGEST)


class Sessions:
    """The sessions, of which there are at most 1,000: beyond that the longest unused one ends."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        # In the order of their last use.
        self._by_id: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Session]:
        return iter([*self._by_id.values()])

    def begin(self, credentials: Credentials, info: KeyInfo) -> Session:
        """Begin a session."""
        self._expire()
        while len(self._by_id) >= self._most:
            self.end(next(iter(self._by_id.values())))
        now = clock.now()
        session = Session(secrets.token_urlsafe(32), credentials, info, now, now)
        self._by_id[session.id] = session
        return session

    def find(self, id: str) -> Session | None:
        """Return the session with an id, which is used now; None if it is unknown or expired."""
        session = self._by_id.get(id)
        if session is None:
            return None
        now = clock.now()
        if session.expires <= now:
            self.end(session)
            return None
        session.used = now
        self._by_id[id] = self._by_id.pop(id)
        return session

    def end(self, session: Session) -> None:
        """End a session, which also ends its streams of events."""
        self._by_id.pop(session.id, None)
        session.ended.set()

    def _expire(self) -> None:
        now = clock.now()
        for session in self:
            if session.expires > now:
                break
            self.end(session)


class LoginLimit:
    """Limits how often one address may try to log in, and all of them together.

    Args:
      rate: Attempts per second from one address; five seconds' worth may come at once.
      total: Attempts per second from all addresses.
    """

    def __init__(self, rate: float = 1.0, total: float = 20.0) -> None:
        self._rate = rate
        self._total = TokenBucket(total)
        self._by_address: dict[str, TokenBucket] = {}

    def allows(self, address: str) -> bool:
        """Whether an address may try now, which counts as an attempt."""
        bucket = self._by_address.pop(address, None) or TokenBucket(self._rate)
        self._by_address[address] = bucket
        if len(self._by_address) > _ADDRESSES:
            del self._by_address[next(iter(self._by_address))]
        for each in (bucket, self._total):
            if not each.spend():
                # What was refused costs nothing: nobody is locked out for longer than a moment.
                each.spend(-1)
                return False
        return True
