"""When certificates expire.  The standard library tells that only of a peer's certificate."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from typing import Final

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME: Final = 0x17
_VERSION: Final = 0xA0
_FORMATS: Final = {_UTC_TIME: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}


def earliest_expiry(pem: str) -> datetime:
    """Return when the first certificate of a text in PEM expires.

    Raises:
      ValueError: the text has no certificate, or an invalid one.
    """
    found = _PEM.findall(pem)
    if not found:
        raise ValueError("there is no certificate in PEM")
    return min(_expiry(ssl.PEM_cert_to_DER_cert(each)) for each in found)


def _expiry(der: bytes) -> datetime:
    """Return the end of the validity of a certificate, see RFC 5280, section 4.1."""
    try:
        _, certificate, _ = _read(der, 0)
        _, signed, _ = _read(certificate, 0)
        tag, _, position = _read(signed, 0)
        # The version may be missing; then serial number, algorithm and issuer.
        for _ in range(3 if tag == _VERSION else 2):
            _, _, position = _read(signed, position)
        _, validity, _ = _read(signed, position)
        _, _, second = _read(validity, 0)
        tag, text, _ = _read(validity, second)
        moment = datetime.strptime(text.decode("ascii"), _FORMATS[tag]).replace(tzinfo=UTC)
    except (IndexError, KeyError, UnicodeDecodeError) as exc:
        raise ValueError("a certificate is invalid") from exc
    # Two digits of a year stand for 1950 to 2049; for Python, for 1969 to 2068.
    if tag == _UTC_TIME and moment.year >= 2050:
        moment = moment.replace(year=moment.year - 100)
    return moment


def _read(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Return the tag and the content of an element in DER, and where the next one begins."""
    tag, size, begin = data[at], data[at + 1], at + 2
    if size & 0x80:
        begin += size & 0x7F
        size = int.from_bytes(data[at + 2 : begin])
    return tag, data[begin : begin + size], begin + size
