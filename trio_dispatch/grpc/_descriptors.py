"""The definitions of a server's services: which file defines a name, and what it imports.

They come from descriptor sets, as protoc writes them, and from the pools of google.protobuf, if
generated code uses it.  It is not imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from ..protobuf.codec import MessageCodec
from ._generated.grpc.descriptors import File, FileSet, MessageType


class DescriptorSet:
    """The files of a `google.protobuf.FileDescriptorSet`.

    Args:
      data: Its bytes.

    Raises:
      ValueError: they are not such a set.
    """

    def __init__(self, data: bytes) -> None:
        self._files: dict[str, tuple[bytes, File]] = {}
        self._by_symbol: dict[str, str] = {}
        codec = MessageCodec()
        for encoded in codec.decode(data, FileSet).file:
            file = codec.decode(encoded, File)
            self._files[file.name] = encoded, file
            self._by_symbol.update(dict.fromkeys(_symbols(file), file.name))

    def file_named(self, name: str) -> list[bytes] | None:
        """The file, then those that it imports; None if it is not here."""
        if name not in self._files:
            return None
        found: dict[str, bytes] = {}
        self._collect(name, found)
        return list(found.values())

    def file_with(self, symbol: str) -> list[bytes] | None:
        """Likewise the file that defines a service, method, message or enum."""
        return self.file_named(self._by_symbol.get(symbol, ""))

    def file_with_extension(self, message: str, number: int) -> list[bytes] | None:
        """Likewise the file that defines an extension: these sets are not searched for them."""
        return None

    def extensions_of(self, message: str) -> list[int] | None:
        """The numbers of a message's extensions, None if the message is not here."""
        return [] if message in self._by_symbol else None

    def _collect(self, name: str, found: dict[str, bytes]) -> None:
        if name in self._files and name not in found:
            found[name], file = self._files[name]
            for imported in file.dependency:
                self._collect(imported, found)


class DescriptorPool:
    """The files of a `google.protobuf.descriptor_pool.DescriptorPool`, like `DescriptorSet`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def file_named(self, name: str) -> list[bytes] | None:
        try:
            return _with_imports(self._pool.FindFileByName(name))
        except KeyError:
            return None

    def file_with(self, symbol: str) -> list[bytes] | None:
        try:
            return _with_imports(self._pool.FindFileContainingSymbol(symbol))
        except KeyError:
            pass
        try:  # the C implementation finds everything but methods
            return _with_imports(self._pool.FindMethodByName(symbol).containing_service.file)
        except KeyError:
            return None

    def file_with_extension(self, message: str, number: int) -> list[bytes] | None:
        try:
            extended = self._pool.FindMessageTypeByName(message)
            return _with_imports(self._pool.FindExtensionByNumber(extended, number).file)
        except KeyError:
            return None

    def extensions_of(self, message: str) -> list[int] | None:
        try:
            found = self._pool.FindAllExtensions(self._pool.FindMessageTypeByName(message))
        except KeyError:
            return None
        return sorted(extension.number for extension in found)


def pools_of(types: Iterable[Any]) -> Iterator[DescriptorPool]:
    """The pools that know these classes of messages, and the common one if it is in use."""
    pools = {}
    module = sys.modules.get("google.protobuf.descriptor_pool")
    if module is not None:
        common = module.Default()
        pools[id(common)] = common
    for cls in types:
        descriptor = getattr(cls, "DESCRIPTOR", None)
        if descriptor is not None:
            pools[id(descriptor.file.pool)] = descriptor.file.pool
    return map(DescriptorPool, pools.values())


def _with_imports(file: Any) -> list[bytes]:
    found: dict[str, bytes] = {}

    def collect(file: Any) -> None:
        if file.name not in found:
            found[file.name] = file.serialized_pb
            for imported in file.dependencies:
                collect(imported)

    collect(file)
    return list(found.values())


def _symbols(file: File) -> Iterator[str]:
    """The full names of what a file defines."""
    prefix = f"{file.package}." if file.package else ""
    for service in file.service:
        yield prefix + service.name
        for method in service.method:
            yield f"{prefix}{service.name}.{method.name}"
    for enum in file.enum_type:
        yield prefix + enum.name
    for message in file.message_type:
        yield from _symbols_of(message, prefix)


def _symbols_of(message: MessageType, prefix: str) -> Iterator[str]:
    name = prefix + message.name
    yield name
    for enum in message.enum_type:
        yield f"{name}.{enum.name}"
    for nested in message.nested_type:
        yield from _symbols_of(nested, f"{name}.")
