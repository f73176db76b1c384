"""Authentication of requests: API keys and signatures.

Every request that is refused gets the same message and takes the same work, whatever was wrong with
it, so an attacker learns nothing by trying keys.  What was wrong is in the log of the service.

A signature is accepted once.  The nonces of the last minutes are remembered in memory.  After a
restart they are lost, while signatures that were used before would still be within their time
window.  So the store keeps, for each key, the newest second for which a signature was accepted, and
has it on the disk before the request continues.  After a restart, signatures for that second or an
earlier one are refused, whether or not they were used.  This costs one small write for each second
in which a key signs something.  A client notices it only if it signs again for the same second as
its last request, or if it shares its key with others and its clock is behind theirs: then it is
refused until its clock has passed theirs.  The start time of the service plays no part, so
a client's clock may be behind the service's or ahead of it.

Where several services share a store, a signature that one has accepted must not be accepted by
another.  Such a store keeps the nonces themselves, see `SharedNonces`: one small write for each
signed request.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, Protocol, runtime_checkable

import trio

from .. import clock
from ..api.signing import NONCE_BYTES, signature
from ..grpc import GRPCError, Metadata, Proceed, ServerStream, Status
from .auth_log import Fault, FaultLog
from .grpc_errors import mapped_to_grpc
from .keys import Key, Keys, Right, digest_of
from .store.rows import Author

__all__ = [
    "Authenticator",
    "Stamps",
    "address_of",
    "current_author",
    "current_caller",
    "permitted",
    "require",
]

WINDOW: Final = 300
"""A signature is accepted for this number of seconds before and after its time."""

REMEMBERED_NONCES = 100_000
"""How many nonces of one key are remembered."""

_HEALTH: Final = "/grpc.health.v1.Health/"
_caller: ContextVar[Key | None] = ContextVar("trio_dispatch caller")
_peer: ContextVar[str] = ContextVar("trio_dispatch peer", default="")
# Verified in place of an unknown key, so that both take the same time.
_UNKNOWN_KEY = Key(secrets.token_hex(), secrets.token_hex(), "unknown")


class Stamps(Protocol):
    """Keeps, for the digest of each key, the newest second for which a signature was accepted."""

    async def latest_stamp(self, key: bytes) -> int | None:
        """Return that second; None if no signature was accepted yet."""

    async def raise_stamp(self, key: bytes, second: int) -> None:
        """Keep a second unless a newer one is kept; it is durable when this returns."""


@runtime_checkable
class SharedNonces(Protocol):
    """Keeps the nonces of each key, by its digest, for several services that share a store."""

    async def use_nonce(self, key: bytes, nonce: bytes, second: int) -> bool:
        """Keep a nonce; return False if it was kept already.  It is durable when this returns."""


def require(right: Right, microgrid_id: int) -> None:
    """Check, in the handler of a call, that its key has a right in a microgrid.

    Raises:
      GRPCError: PERMISSION_DENIED.
    """
    if not permitted(right, microgrid_id):
        raise GRPCError(Status.PERMISSION_DENIED, "the key does not permit this")


def permitted(right: Right, microgrid_id: int) -> bool:
    """Whether, in the handler of a call, its key has a right in a microgrid."""
    caller = _caller.get()
    return caller is None or caller.permits(right, microgrid_id)


def current_caller() -> Key | None:
    """Return the key of the call whose handler runs here, None if it needed no key."""
    return _caller.get(None)


def current_author() -> Author:
    """Return who makes the call whose handler runs here, for the log of changes."""
    caller = current_caller()
    return Author("" if caller is None else caller.name, _peer.get())


def address_of(call: ServerStream[Any, Any]) -> str:
    """Return the address of the client as a text; empty if the transport has none."""
    address = call.peer.addr()
    if isinstance(address, tuple):
        host, port, *_ = address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return address if isinstance(address, str) else ""


class Authenticator:
    """An interceptor that refuses calls without a valid key; health checks need none.

    Attributes:
      faults: Counts and logs the calls that are refused.

    Args:
      keys: The valid keys.
      stamps: Keeps the newest second of a signature for each key beyond the end of the process; or,
        where several services share a store, the nonces.
    """

    def __init__(self, keys: Keys | None, stamps: Stamps | SharedNonces) -> None:
        self._keys = keys
        self.faults = FaultLog()
        self._stamps = stamps
        self._nonces: dict[bytes, _Nonces] = {}

    @property
    def keys(self) -> Keys | None:
        """The valid keys; None permits everything to everyone.

        They may be set at any time, which applies to later calls.
        """
        return self._keys

    @keys.setter
    def keys(self, keys: Keys | None) -> None:
        self._keys = keys
        # If a key becomes valid again, the store knows up to when signatures are refused.
        valid = frozenset() if keys is None else keys.digests
        self._nonces = {digest: each for digest, each in self._nonces.items() if digest in valid}

    async def __call__(self, call: ServerStream[Any, Any], proceed: Proceed) -> None:
        if not call.method_name.startswith(_HEALTH):
            assert call.metadata is not None
            peer = address_of(call)
            with mapped_to_grpc():
                key = await self.authenticate(
                    call.metadata, call.method_name, clock.now(), peer=peer
                )
            _caller.set(key)
            _peer.set(peer)
        await proceed()

    async def authenticate(
        self, metadata: Metadata, method: str, now: datetime, *, peer: str = ""
    ) -> Key | None:
        """Return the key of a request; None if the service needs no keys.

        Raises:
          GRPCError: UNAUTHENTICATED.
          StoreError: the time of a valid signature could not be stored, so it does not count.
        """
        if self.keys is None:
            return None
        text = _single(metadata, "key")
        key = None if text is None else self.keys.find(text)
        fault = await self._fault(key or _UNKNOWN_KEY, metadata, method.rpartition("/")[2], now)
        if key is None:
            fault = Fault.NO_KEY if text is None else Fault.UNKNOWN_KEY
        if fault is not None:
            name = None if key is None else key.name
            self.faults.note(fault, method=method, peer=peer, key_name=name)
            raise GRPCError(Status.UNAUTHENTICATED, "the request is not authenticated")
        return key

    async def _fault(
        self, key: Key, metadata: Metadata, method: str, now: datetime
    ) -> Fault | None:
        """What is wrong with the signature of a request; None if it is valid, and new."""
        if key.secret is None:
            return None
        stamp, nonce, sig = (_single(metadata, name) or "" for name in ("ts", "nonce", "sig"))
        expected = signature(key.key, key.secret, stamp, nonce, method)
        if not hmac.compare_digest(expected.encode(), sig.encode("utf-8", "surrogateescape")):
            return Fault.BAD_SIGNATURE if sig else Fault.NO_SIGNATURE
        # Only the holder of the secret gets here, so nobody else can fill the memory of nonces.
        second, nonce_bytes = _seconds(stamp), _nonce_bytes(nonce)
        if nonce_bytes is None:
            return Fault.NONCE
        if second is None or abs(int(now.timestamp()) - second) > WINDOW:
            return Fault.TIMESTAMP
        digest = digest_of(key.key)
        if isinstance(self._stamps, SharedNonces):
            is_new = await self._stamps.use_nonce(digest, nonce_bytes, second)
            return None if is_new else Fault.REPLAY
        if digest not in self._nonces:
            latest = await self._stamps.latest_stamp(digest)
            self._nonces.setdefault(digest, _Nonces(latest))
        nonces = self._nonces[digest]
        if not nonces.first_use(nonce_bytes, second, int(now.timestamp())):
            return Fault.REPLAY
        if second > nonces.latest:
            async with nonces.storing:
                if second > nonces.latest:
                    await self._stamps.raise_stamp(digest, second)
                    nonces.latest = second
        return None


def _single(metadata: Metadata, name: str) -> str | None:
    """Return a value that must occur exactly once."""
    values = metadata.getall(name, [])
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def _seconds(stamp: str) -> int | None:
    return int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) <= 12 else None


def _nonce_bytes(nonce: str) -> bytes | None:
    """Return the bytes of a nonce, None if its form is wrong."""
    try:
        decoded = urlsafe_b64decode(nonce)
    except ValueError:
        return None
    # Each nonce must have one text only, or a replay with another text would not be recognised.
    canonical = urlsafe_b64encode(decoded).decode() == nonce
    return decoded if len(decoded) == NONCE_BYTES and canonical else None


class _Nonces:
    """The nonces that a key has used recently.

    They are grouped by the second of their signature and kept for as long as a signature of that
    second is accepted.  If there are too many, the oldest are forgotten, and signatures of their
    second or earlier are refused from then on: the window becomes narrower, but no replay succeeds.

    Attributes:
      latest: The newest second that the store has for the key; to be changed under `storing`.

    Args:
      latest: The newest second before this process began; all up to it is refused.
    """

    def __init__(self, latest: int | None) -> None:
        self.latest = -1 if latest is None else latest
        self.storing = trio.Lock()
        self._by_second: dict[int, set[bytes]] = {}
        self._count = 0
        self._floor = self.latest + 1
        self._swept = 0

    def first_use(self, nonce: bytes, second: int, now: int) -> bool:
        """Whether a nonce is used for the first time, with a second that is within the window."""
        self._forget_before(now - WINDOW)
        if second < self._floor:
            return False
        used = self._by_second.setdefault(second, set())
        if nonce in used:
            return False
        used.add(nonce)
        self._count += 1
        while self._count > REMEMBERED_NONCES:
            oldest = min(self._by_second)
            self._count -= len(self._by_second.pop(oldest))
            self._floor = oldest + 1
        return True

    def _forget_before(self, moment: int) -> None:
        if moment > self._swept:
            self._swept = moment
            for second in [second for second in self._by_second if second < moment]:
                self._count -= len(self._by_second.pop(second))
