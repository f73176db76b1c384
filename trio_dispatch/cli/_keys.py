"""The keys and certificates of a service: where they come from, and reading them again."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..service import Keys

__all__ = ["KeySource", "TlsFiles", "load_context"]

log = logging.getLogger("trio_dispatch.service.keys")


@dataclass(frozen=True)
class KeySource:
    """Keys given one by one, or a file of them.

    Raises:
      ValueError: both are given.
    """

    keys: Sequence[str]
    file: Path | None

    def __post_init__(self) -> None:
        if self.keys and self.file is not None:
            raise ValueError(
                "--keys and --key (or DISPATCH_SERVICE_KEYS) are both given: keep all keys in the "
                "file"
            )

    def load(self) -> Keys | None:
        """The keys as they are now; None if there are none.

        Raises:
          OSError: the file cannot be read.
          ValueError: the file, or a key, makes no sense.
        """
        if self.file is not None:
            try:
                keys = Keys.load(self.file)
            except OSError as exc:
                raise OSError(f"--keys {self.file} cannot be read: {exc.strerror or exc}") from exc
            if self.file.stat().st_mode & 0o007:
                log.warning("%s can be read by everyone: chmod 600 or 640", self.file)
            return keys
        return Keys.of(*self.keys) if self.keys else None


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: a certificate with its chain, its private key, and who signs for clients.

    Raises:
      ValueError: one is given without another that it needs.
    """

    certificate: Path | None
    key: Path | None
    client_ca: Path | None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            given, missing = "--tls-cert", "--tls-key"
            if self.certificate is None:
                given, missing = missing, given
            raise ValueError(f"{given} needs {missing}")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("--tls-client-ca needs --tls-cert and --tls-key")

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have a context show the certificate as it is now.

        Raises:
          ValueError: the files cannot be read, or are not what they have to be.
        """
        assert self.certificate is not None
        assert self.key is not None
        for file in (self.certificate, self.key):
            _check_readable(file)
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except ssl.SSLError as exc:
            raise ValueError(
                f"--tls-cert {self.certificate} with --tls-key {self.key} is no certificate in PEM "
                f"with its private key: {exc.reason or exc}"
            ) from exc


def load_context(files: TlsFiles) -> ssl.SSLContext | None:
    """A context for the server's side; None if there is no certificate.

    With a certificate authority for clients, only those with a certificate of it are let in.

    Raises:
      ValueError: a file cannot be read, or is not what it has to be.
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
    raise ValueError("the private key is encrypted: give one without a password, mode 600")
