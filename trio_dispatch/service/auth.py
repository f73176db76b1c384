"""Who may do what: keys, signed requests, and the rights that keys have.

What is refused is refused with one and the same message, whichever part of it was wrong, and takes
the same work: whoever tries keys learns nothing by trying.

A signature is good once.  The nonces of the last minutes are remembered, in memory: after a restart
they are gone, while signatures that were used before it would still be in time.  So the store keeps
the newest second for which a signature of each key was good, and has it on the disk before the
request is let on.  After a restart nothing that was signed for that second or an earlier one is
good any more, whatever became of its nonce.  That costs one small write for each second in which a
key signs something, and a client nothing, unless it signs again for the very second of its last
request, or shares its key with others and its clock is behind theirs: then it is refused until its
clock has passed theirs.  The time of the start plays no part, so a clock that is behind the
service's does no harm, and neither does one that is ahead.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import tomllib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import trio

from .. import clock
from ..api.signing import NONCE_BYTES, signature
from ..grpc import GRPCError, Metadata, Proceed, ServerStream, Status
from .refusals import refusals

__all__ = ["Authenticator", "Key", "Keys", "Right", "Stamps", "current_caller", "require"]

WINDOW = 300
"""For so many seconds, before and after the time that it carries, a signature is good."""

REMEMBERED_NONCES = 100_000
"""So many nonces are remembered of one key."""


class Right(Enum):
    """What a key may be good for."""

    READ = "read"
    """To list, get and stream."""

    WRITE = "write"
    """To create, update and delete."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and what it is good for.  Neither key nor secret shows in its `repr`.

    Attributes:
      key: What a request carries.
      secret: What the requests of this key are signed with; None if they need no signature.
      name: What logs may call it.
      microgrids: The microgrids it is good for; None for all.
      rights: What it is good for there.

    Raises:
      ValueError: the key or the secret is empty or not what metadata can carry.
    """

    key: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    name: str = ""
    microgrids: frozenset[int] | None = None
    rights: frozenset[Right] = frozenset(Right)

    def __post_init__(self) -> None:
        if not self.key or not self.key.isascii() or not self.key.isprintable():
            raise ValueError(f"the key {self.name!r} is empty or has other than ASCII characters")
        if self.key != self.key.strip():
            raise ValueError(f"the key {self.name!r} begins or ends with a space")
        if self.secret == "":
            raise ValueError(f"the secret of the key {self.name!r} is empty")

    def permits(self, right: Right, microgrid_id: int) -> bool:
        """Whether it gives a right in a microgrid."""
        return right in self.rights and (self.microgrids is None or microgrid_id in self.microgrids)


class Keys:
    """The keys that a service knows.  Immutable; to change them, give the service others.

    Raises:
      ValueError: two of them are the same.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        # By digest: how long a look-up takes says nothing of how much of a key was right.
        self._by_digest: dict[bytes, Key] = {}
        for key in keys:
            digest = _digest(key.key)
            if digest in self._by_digest:
                other = self._by_digest[digest].name
                raise ValueError(f"the keys {other!r} and {key.name!r} are the same")
            self._by_digest[digest] = key

    @classmethod
    def of(cls, *keys: str) -> Keys:
        """Keys without secrets, each good for everything."""
        return cls(Key(key, name=f"key {number}") for number, key in enumerate(keys, 1))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Keys:
        """Read keys from a TOML file::

            [[keys]]
            name = "the dispatcher of site 1"
            key = "..."
            secret = "..."             # without one, its requests need no signature
            microgrids = [1, 2]        # all, if left out
            rights = ["read"]          # also to write, if left out

        Raises:
          OSError: it cannot be read.
          ValueError: it is not TOML, or has something else in it.
        """
        try:
            content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
            return cls(_keys_in(content))
        except ValueError as exc:
            raise ValueError(f"{path}: {exc}") from None  # its context might show a secret

    def find(self, key: str) -> Key | None:
        """The key that is this text."""
        return self._by_digest.get(_digest(key))

    def __eq__(self, other: object) -> bool:
        return self._by_digest == other._by_digest if isinstance(other, Keys) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._by_digest)

    def __repr__(self) -> str:
        return f"<{len(self)} keys>"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _keys_in(content: Mapping[str, Any]) -> list[Key]:
    if unknown := content.keys() - {"keys"}:
        raise ValueError(f"{min(unknown)!r} is not known; it has tables [[keys]]")
    tables = content.get("keys")
    if not isinstance(tables, list) or not tables:
        raise ValueError("there are no tables [[keys]]")
    return [_key_in(table, number) for number, table in enumerate(tables, 1)]


def _key_in(table: Any, number: int) -> Key:
    where = f"key {number}"
    if not isinstance(table, dict):
        raise ValueError(f"{where} is not a table")
    name = table.get("name", where)
    if not isinstance(name, str):
        raise ValueError(f"{where}: name is not a string")
    if unknown := table.keys() - {"name", "key", "secret", "microgrids", "rights"}:
        raise ValueError(f"{where}: {min(unknown)!r} is not known")
    key, secret = table.get("key"), table.get("secret")
    if not isinstance(key, str):
        raise ValueError(f"{where}: key is not a string")
    if not isinstance(secret, str | None):
        raise ValueError(f"{where}: secret is not a string")
    return Key(key, secret, name, _microgrids_in(table, where), _rights_in(table, where))


def _microgrids_in(table: Mapping[str, Any], where: str) -> frozenset[int] | None:
    ids = table.get("microgrids")
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(type(id_) is int and id_ >= 0 for id_ in ids):
        raise ValueError(f"{where}: microgrids is not a list of ids")
    return frozenset(ids)


def _rights_in(table: Mapping[str, Any], where: str) -> frozenset[Right]:
    names = table.get("rights", ["read", "write"])
    known = {right.value: right for right in Right}
    if not isinstance(names, list) or not all(
        isinstance(name, str) and name in known for name in names
    ):
        raise ValueError(f'{where}: rights is not a list of "read" and "write"')
    return frozenset(known[name] for name in names)


# Requests.

_HEALTH = "/grpc.health.v1.Health/"
_caller: ContextVar[Key | None] = ContextVar("trio_dispatch caller")
# Verified against when there is no such key, so that it takes as long as if there were.
_NOBODY = Key(secrets.token_hex(), secrets.token_hex(), "nobody")


class Stamps(Protocol):
    """Keeps for each key, by its digest, the newest second for which a signature was good."""

    async def latest_stamp(self, key: bytes) -> int | None:
        """That second; None if there was no signature yet."""

    async def raise_stamp(self, key: bytes, second: int) -> None:
        """Keep a second, unless a newer one is kept; it is durable when this returns."""


def require(right: Right, microgrid_id: int) -> None:
    """Let only those on whose key has a right in a microgrid.  For the handler of a call.

    Raises:
      GRPCError: PERMISSION_DENIED.
    """
    caller = _caller.get()
    if caller is not None and not caller.permits(right, microgrid_id):
        raise GRPCError(Status.PERMISSION_DENIED, "the key does not permit this")


def current_caller() -> Key | None:
    """The key by which the call came whose handler runs here; None if there is none."""
    return _caller.get(None)


class Authenticator:
    """An interceptor that lets only those calls on that come from the holder of a key.

    Health checks pass without one.

    Attributes:
      keys: The keys that are good; None lets everyone do everything.  It may be set at any time and
        holds for the calls that come after.

    Args:
      stamps: Keeps what has to outlive the process: for each key the newest second of a signature.
    """

    def __init__(self, keys: Keys | None, stamps: Stamps) -> None:
        self.keys = keys
        self._stamps = stamps
        self._nonces: dict[bytes, _Nonces] = {}

    async def __call__(self, call: ServerStream[Any, Any], proceed: Proceed) -> None:
        if not call.method_name.startswith(_HEALTH):
            assert call.metadata is not None
            with refusals():
                key = await self.authenticate(call.metadata, call.method_name, clock.now())
            _caller.set(key)
        await proceed()

    async def authenticate(self, metadata: Metadata, method: str, now: datetime) -> Key | None:
        """The key by which a request comes; None if there are no keys and none is needed.

        Raises:
          GRPCError: UNAUTHENTICATED.
          StoreError: a good signature could not be noted down, so it does not count.
        """
        if self.keys is None:
            return None
        text = _single(metadata, "key")
        key = None if text is None else self.keys.find(text)
        good = await self._verify(key or _NOBODY, metadata, method.rpartition("/")[2], now)
        if key is None or not good:
            raise GRPCError(Status.UNAUTHENTICATED, "the request is not authenticated")
        return key

    async def _verify(self, key: Key, metadata: Metadata, method: str, now: datetime) -> bool:
        """Whether a request is signed as its key demands, lately, and for the first time."""
        if key.secret is None:
            return True
        stamp, nonce, sig = (_single(metadata, name) or "" for name in ("ts", "nonce", "sig"))
        expected = signature(key.key, key.secret, stamp, nonce, method)
        if not hmac.compare_digest(expected.encode(), sig.encode("utf-8", "surrogateescape")):
            return False
        # Only the holder of the secret comes so far: nobody else can fill the memory of nonces.
        moment, noise = _seconds(stamp), _noise(nonce)
        if moment is None or noise is None:
            return False
        digest = _digest(key.key)
        if digest not in self._nonces:
            latest = await self._stamps.latest_stamp(digest)
            self._nonces.setdefault(digest, _Nonces(latest))
        nonces = self._nonces[digest]
        if not nonces.first(noise, moment, int(now.timestamp())):
            return False
        if moment > nonces.latest:
            async with nonces.noting_down:
                if moment > nonces.latest:
                    await self._stamps.raise_stamp(digest, moment)
                    nonces.latest = moment
        return True


def _single(metadata: Metadata, name: str) -> str | None:
    """The value of what must be there exactly once."""
    values = metadata.getall(name, [])
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def _seconds(stamp: str) -> int | None:
    return int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) <= 12 else None


def _noise(nonce: str) -> bytes | None:
    """The bytes of a nonce; None if it is not written as it has to be."""
    try:
        noise = urlsafe_b64decode(nonce)
    except ValueError:
        return None
    # One noise has one text only; with another, a replay would not be recognised.
    canonical = urlsafe_b64encode(noise).decode() == nonce
    return noise if len(noise) == NONCE_BYTES and canonical else None


class _Nonces:
    """The nonces that were lately used with a key.

    They are kept by the second that they were signed for, and as long as a signature of that second
    is good.  If there are too many, the oldest are forgotten, and what was signed no later than
    they were is refused from then on: the window becomes narrower, and no replay comes through.

    Attributes:
      latest: The newest second that the store has of the key; to be changed with `noting_down`.

    Args:
      latest: The newest second before this process began; up to it all is refused.
    """

    def __init__(self, latest: int | None) -> None:
        self.latest = -1 if latest is None else latest
        self.noting_down = trio.Lock()
        self._by_second: dict[int, set[bytes]] = {}
        self._count = 0
        self._floor = self.latest + 1
        self._swept = 0

    def first(self, nonce: bytes, moment: int, now: int) -> bool:
        """Whether a nonce is used for the first time, at a moment within the window."""
        self._forget_before(now - WINDOW)
        if abs(now - moment) > WINDOW or moment < self._floor:
            return False
        used = self._by_second.setdefault(moment, set())
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
