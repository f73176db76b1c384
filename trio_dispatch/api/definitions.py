"""The definitions of the API, for reflection."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["definitions"]


def definitions() -> bytes:
    """The files of the API as a `google.protobuf.FileDescriptorSet` in its binary form."""
    return files(__package__).joinpath("_generated", "descriptors.bin").read_bytes()
