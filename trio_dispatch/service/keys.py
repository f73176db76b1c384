"""API keys, their rights, and the file that they are read from."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, KeysView, Mapping
from dataclasses import dataclass, field
from enum import Enum
from os import PathLike
from pathlib import Path

__all__ = ["Key", "Keys", "Right", "digest_of"]


class Right(Enum):
    """What a key permits."""

    READ = "read"
    """List, get and stream dispatches; list and stream runs, changes and dispatchers."""

    WRITE = "write"
    """Create, update and delete dispatches."""

    REPORT = "report"
    """Report runs."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key and its rights.  The `repr` shows neither key nor secret.

    Attributes:
      key: The text that a request carries.
      secret: The secret that signs the requests of this key; None if they need no signature.
      name: The name in logs.
      microgrids: The microgrids that the key is valid for; None for all.
      rights: What the key permits there.

    Raises:
      ValueError: the key or the secret is empty, or metadata cannot carry it.
    """

    key: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    name: str = ""
    microgrids: frozenset[int] | None = None
    rights: frozenset[Right] = frozenset(Right)

    def __post_init__(self) -> None:
        if not self.key or not self.key.isascii() or not self.key.isprintable():
            raise ValueError(f"the key {self.name!r} is invalid: it must be printable ASCII")
        if self.key != self.key.strip():
            raise ValueError(f"the key {self.name!r} begins or ends with a space")
        if self.secret == "":
            raise ValueError(f"the secret of the key {self.name!r} is empty")

    def permits(self, right: Right, microgrid_id: int) -> bool:
        """Whether the key has a right in a microgrid."""
        return right in self.rights and (self.microgrids is None or microgrid_id in self.microgrids)


class Keys:
    """The API keys of a service.  Immutable; to change them, assign new ones to the service.

    Raises:
      ValueError: two of them are the same.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        # By digest, so that the time of a look-up does not depend on how much of a key is right.
        self._by_digest: dict[bytes, Key] = {}
        for key in keys:
            digest = digest_of(key.key)
            if digest in self._by_digest:
                other = self._by_digest[digest].name
                raise ValueError(f"the keys {other!r} and {key.name!r} are the same")
            self._by_digest[digest] = key

    @classmethod
    def of(cls, *keys: str) -> Keys:
        """Return keys without secrets, each of which permits everything."""
        return cls(Key(key, name=f"key {number}") for number, key in enumerate(keys, 1))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Keys:
        """Read keys from a TOML file::

            [[keys]]
            name = "dispatcher of site 1"
            key = "..."
            secret = "..."             # optional; without it requests need no signature
            microgrids = [1, 2]        # optional; all by default
            rights = ["read"]          # optional; "read", "write" and "report" by default

        Raises:
          OSError: the file cannot be read.
          ValueError: the file is not TOML, or its content is invalid.
        """
        try:
            content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
            return cls(_keys_in(content))
        except RecursionError:
            raise ValueError(f"{path}: nested too deeply") from None
        except ValueError as exc:
            raise ValueError(f"{path}: {exc}") from None  # Its context might show a secret.

    @property
    def digests(self) -> KeysView[bytes]:
        """The digests of all keys, see `digest_of`."""
        return self._by_digest.keys()

    def find(self, key: str) -> Key | None:
        """Return the key with this text."""
        return self._by_digest.get(digest_of(key))

    def __eq__(self, other: object) -> bool:
        return self._by_digest == other._by_digest if isinstance(other, Keys) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._by_digest)

    def __repr__(self) -> str:
        return f"<{len(self)} keys>"


def digest_of(key: str) -> bytes:
    """Return the digest by which a key is looked up and stored."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


# Files.


def _keys_in(content: Mapping[str, object]) -> list[Key]:
    if unknown := content.keys() - {"keys"}:
        raise ValueError(f"{min(unknown)!r} is unknown: the file must consist of tables [[keys]]")
    tables = content.get("keys")
    if not isinstance(tables, list) or not tables:
        raise ValueError("there are no tables [[keys]]")
    return [_key_in(table, f"key {number}") for number, table in enumerate(tables, 1)]


def _key_in(table: object, where: str) -> Key:
    if not isinstance(table, dict):
        raise ValueError(f"{where} is not a table")
    name = table.get("name", where)
    if not isinstance(name, str):
        raise ValueError(f"{where}: name is not a string")
    if unknown := table.keys() - {"name", "key", "secret", "microgrids", "rights"}:
        raise ValueError(f"{where}: {min(unknown)!r} is unknown")
    key, secret = table.get("key"), table.get("secret")
    if not isinstance(key, str):
        raise ValueError(f"{where}: key is not a string")
    if not isinstance(secret, str | None):
        raise ValueError(f"{where}: secret is not a string")
    microgrids = _microgrids_in(table.get("microgrids"), where)
    return Key(key, secret, name, microgrids, _rights_in(table.get("rights"), where))


def _microgrids_in(ids: object, where: str) -> frozenset[int] | None:
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(type(id_) is int and id_ >= 0 for id_ in ids):
        raise ValueError(f"{where}: microgrids is not a list of ids")
    return frozenset(ids)


def _rights_in(names: object, where: str) -> frozenset[Right]:
    if names is None:
        return frozenset(Right)
    known = {right.value: right for right in Right}
    if not isinstance(names, list) or not all(
        isinstance(name, str) and name in known for name in names
    ):
        raise ValueError(f'{where}: rights is not a list of "read", "write" and "report"')
    return frozenset(known[name] for name in names)
