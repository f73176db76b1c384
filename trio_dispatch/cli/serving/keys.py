"""The API keys and certificates of a service, which can be loaded again while it runs."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...service import Keys
from .certificates import earliest_expiry

log = logging.getLogger("trio_dispatch.service.keys")


@dataclass(frozen=True)
class KeySource:
    """API keys from the command line, or a file of them.

    Raises:
      ValueError: both are given.
    """

    keys: Sequence[str]
    file: Path | None

    def __post_init__(self) -> None:
        if self.keys and self.file is not None:
            raise ValueError(
                "--keys and --key (or DISPATCH_SERVICE_KEYS) exclude each other: put all keys into "
                "the file"
            )

    def __bool__(self) -> bool:
        return bool(self.keys) or self.file is not None

    def load(self) -> Keys | None:
        """Return the present keys; None if no key is required.

        Raises:
          OSError: the file cannot be read.
          ValueError: the file or a key is invalid.
        """
        if self.file is None:
            return Keys.of(*self.keys) if self.keys else None
        try:
            keys = Keys.load(self.file)
        except OSError as exc:
            raise OSError(f"--keys {self.file} cannot be read: {exc.strerror or exc}") from exc
        if self.file.stat().st_mode & 0o007:
            log.warning("%s can be read by every user: chmod 600 or 640", self.file)
        return keys


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: a certificate with its chain, its private key, and a CA for clients.

    Raises:
      ValueError: one is given without another that it requires.
    """

    certificate: Path | None
    key: Path | None
    client_ca: Path | None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            given, missing = "--tls-cert", "--tls-key"
            if self.certificate is None:
                given, missing = missing, given
            raise ValueError(f"{given} requires {missing}")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("--tls-client-ca requires --tls-cert and --tls-key")

    def expiry(self) -> datetime | None:
        """Return when the certificate, or another one of its chain, expires; None without one.

        Raises:
          ValueError: the file cannot be read, or is invalid.
        """
        if self.certificate is None:
            return None
        _check_readable(self.certificate)
        return earliest_expiry(self.certificate.read_text(encoding="latin-1"))

    def load_into(self, context: ssl.SSLContext) -> None:
        """Load the present certificate and key into a context.

        Raises:
          ValueError: a file cannot be read, or is invalid.
        """
        assert self.certificate is not None
        assert self.key is not None
        for file in (self.certificate, self.key):
            _check_readable(file)
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except ssl.SSLError as exc:
            raise ValueError(
                f"--tls-cert {self.certificate} with --tls-key {self.key} is not a certificate in "
                f"PEM with its private key: {exc.reason or exc}"
            ) from exc


def load_context(files: TlsFiles) -> ssl.SSLContext | None:
    """Return a context for the server; None without a certificate.

    With a CA for clients, only clients with a certificate that it has signed can connect.

    Raises:
      ValueError: a file cannot be read, or is invalid.
    """
    if files.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files.load_into(context)
    if files.client_ca is not None:
        _check_readable(files.client_ca)
        try:
            context.load_verify_locations(files.client_ca)
        except ssl.SSLError as exc:
            raise ValueError(
                f"--tls-client-ca {files.client_ca} has no certificates in PEM: {exc.reason or exc}"
            ) from exc
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_readable(file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as exc:
        raise ValueError(f"{file} cannot be read: {exc.strerror}") from exc


def _no_password() -> str:
    # Without this, OpenSSL would ask for it at the terminal.
    raise ValueError("the private key is encrypted: use one without a password, mode 600")
