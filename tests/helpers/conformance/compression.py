"""RFC 7541, HPACK: header blocks of a client, right and wrong."""

from __future__ import annotations

from tests.helpers.conformance import wire
from tests.helpers.conformance.exchange import Judge, Step, answered, ended, section
from tests.helpers.conformance.requests import BODY, FIELDS, PSEUDO, REGULAR
from tests.helpers.conformance.verdicts import COMPRESSION

INDEXED, UNINDEXED, NEVER = 0x40, 0x00, 0x10
SIZE_UPDATE = 0x20
BLOCK = wire.block(FIELDS)
# "x-test", "a" and "user-agent", Huffman-encoded.
X_TEST, A_VALUE, USER_AGENT = "f2b24a84ff", "1f", "b505b161cc5a93"
FIRST_DYNAMIC = 62


def asks(block: bytes, stream_id: int = 1) -> bytes:
    """A request with this header block."""
    return wire.headers(stream_id, block) + wire.data(stream_id, BODY, end=True)


def then(*blocks: bytes) -> list[Step]:
    """Requests, one after the other."""
    steps: list[Step] = []
    for number, block in enumerate(blocks):
        steps += [asks(block, 2 * number + 1), ended(2 * number + 1)]
    return steps


def echoed(*fields: tuple[str, str], stream_id: int = 1) -> Judge:
    """The server has read these fields: it sends back those whose names begin with ``echo-``."""
    return answered(stream_id, *fields)


def field(pattern: int, name: str = "echo-a", value: str = "b") -> bytes:
    return wire.literal(name, value, pattern)


A = ("echo-a", "b")
# An entry as long as the whole table of 4,096 bytes: 32 are added to its size.
WHOLE_TABLE = field(INDEXED, "echo-a", "b" * (4096 - 32 - 6))

CHECKS = [
    *section(
        "HPACK 2.3.2",
        (
            "a field of the dynamic table in the next request",
            then(BLOCK + field(INDEXED), BLOCK + b"\xbe"),
            echoed(A, stream_id=3),
        ),
        (
            "newer fields have lower indices",
            then(
                BLOCK + field(INDEXED) + field(INDEXED, "echo-c", "d"),
                BLOCK + b"\xbe\xbf",
            ),
            echoed(A, ("echo-c", "d"), stream_id=3),
        ),
        (
            "equal fields are two entries",
            then(BLOCK + field(INDEXED) * 2, BLOCK + b"\xbf"),
            echoed(A, stream_id=3),
        ),
    ),
    *section(
        "HPACK 2.3.3",
        ("an index beyond the tables", asks(BLOCK + b"\xbe"), COMPRESSION),
        ("a very high index", asks(BLOCK + wire.integer(5000, 7, 0x80)), COMPRESSION),
        (
            "the index of a name beyond the tables",
            asks(BLOCK + wire.integer(FIRST_DYNAMIC, 6, INDEXED) + wire.string("b")),
            COMPRESSION,
        ),
        ("the last static index", asks(BLOCK + wire.integer(61, 7, 0x80)), answered()),
    ),
    *section(
        "HPACK 4.2",
        ("a size update behind a field", asks(BLOCK + b"\x20"), COMPRESSION),
        ("a size update to 0", asks(b"\x20" + BLOCK), answered()),
        (
            "two size updates",
            asks(b"\x20" + wire.integer(4096, 5, SIZE_UPDATE) + BLOCK),
            answered(),
        ),
    ),
    *section(
        "HPACK 4.3",
        (
            "a size update to 0 evicts all entries",
            then(BLOCK + field(INDEXED), b"\x20" + BLOCK + b"\xbe"),
            COMPRESSION,
        ),
        (
            "a size update evicts the oldest entries",
            then(
                BLOCK + field(INDEXED) + field(INDEXED, "echo-c", "d"),
                wire.integer(60, 5, SIZE_UPDATE) + BLOCK + b"\xbe",
            ),
            echoed(("echo-c", "d"), stream_id=3),
        ),
        (
            "an entry that was evicted by a size update",
            then(
                BLOCK + field(INDEXED) + field(INDEXED, "echo-c", "d"),
                wire.integer(60, 5, SIZE_UPDATE) + BLOCK + b"\xbf",
            ),
            COMPRESSION,
        ),
    ),
    *section(
        "HPACK 4.4",
        ("an entry as long as the table", then(BLOCK + WHOLE_TABLE, BLOCK + b"\xbe"), answered(3)),
        (
            "a new entry evicts older ones",
            then(BLOCK + field(INDEXED, "echo-c", "d") + WHOLE_TABLE, BLOCK + b"\xbf"),
            COMPRESSION,
        ),
        (
            "an entry longer than the table empties it",
            then(BLOCK + field(INDEXED) + field(INDEXED, "x", "b" * 5000), BLOCK + b"\xbe"),
            COMPRESSION,
        ),
    ),
    *section(
        "HPACK 5.1",
        (
            "an integer with superfluous zeros",
            asks(BLOCK + b"\x00\x06echo-a\x7f\x82\x80\x00" + b"b" * 129),
            answered(),
        ),
        (
            "an integer of many bytes",
            asks(BLOCK + b"\x00\x01a\x7f" + b"\xff" * 20 + b"\x0f"),
            COMPRESSION,
        ),
        ("an integer that is cut off", asks(BLOCK + b"\xff\x80"), COMPRESSION),
    ),
    *section(
        "HPACK 5.2",
        (
            "a Huffman-encoded name and value",
            asks(BLOCK + b"\x00" + wire.huffman(X_TEST) + wire.huffman(A_VALUE)),
            answered(),
        ),
        (
            "Huffman padding of more than 7 bits",
            asks(BLOCK + b"\x00" + wire.huffman(X_TEST) + wire.huffman("49509fff")),
            COMPRESSION,
        ),
        (
            "Huffman padding of zeros",
            asks(BLOCK + b"\x00" + wire.huffman(X_TEST) + wire.huffman("495090")),
            COMPRESSION,
        ),
        (
            "the end-of-string symbol within a string",
            asks(BLOCK + b"\x00" + wire.huffman(X_TEST) + wire.huffman("4951fffffffa7f")),
            COMPRESSION,
        ),
        ("a string longer than its block", asks(BLOCK + b"\x00\x06echo-a\x7eb"), COMPRESSION),
        ("an empty value", asks(BLOCK + field(UNINDEXED, "x-a", "")), answered()),
    ),
    *section(
        "HPACK 6.1",
        (
            "indexed fields of the static table",
            asks(b"\x83\x86" + wire.block([*PSEUDO[2:], *REGULAR])),
            answered(),
        ),
        ("index 0", asks(BLOCK + b"\x80"), COMPRESSION),
    ),
    *section(
        "HPACK 6.2",
        *(
            row
            for title, pattern, prefix in (
                ("with incremental indexing", INDEXED, 6),
                ("without indexing", UNINDEXED, 4),
                ("never indexed", NEVER, 4),
            )
            for row in (
                (f"{title}, a new name", asks(BLOCK + field(pattern)), echoed(A)),
                (
                    f"{title}, an indexed name",
                    asks(
                        wire.block(FIELDS[:2])
                        + wire.integer(4, prefix, pattern)
                        + wire.string("/interop.Bytes/Echo")
                        + wire.block(FIELDS[3:])
                    ),
                    answered(),
                ),
                (
                    f"{title}, a new name, Huffman-encoded",
                    asks(BLOCK + bytes([pattern]) + wire.huffman(X_TEST) + wire.huffman(A_VALUE)),
                    answered(),
                ),
                (
                    f"{title}, an indexed name, Huffman-encoded value",
                    asks(BLOCK + wire.integer(58, prefix, pattern) + wire.huffman(USER_AGENT)),
                    answered(),
                ),
            )
        ),
        (
            "a field without indexing is no entry",
            then(BLOCK + field(UNINDEXED), BLOCK + b"\xbe"),
            COMPRESSION,
        ),
        (
            "a field that is never indexed is no entry",
            then(BLOCK + field(NEVER), BLOCK + b"\xbe"),
            COMPRESSION,
        ),
    ),
    *section(
        "HPACK 6.3",
        (
            "a size update beyond SETTINGS_HEADER_TABLE_SIZE",
            asks(wire.integer(2**30, 5, SIZE_UPDATE) + BLOCK),
            COMPRESSION,
        ),
        (
            "a size update equal to it",
            asks(wire.integer(4096, 5, SIZE_UPDATE) + BLOCK),
            answered(),
        ),
    ),
]
