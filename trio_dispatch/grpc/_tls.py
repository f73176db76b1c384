"""TLS for HTTP/2: contexts, the handshake, and its errors."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TypeAlias, cast

import trio

from ..concurrency.tls import forget_handshake

SSLContext: TypeAlias = ssl.SSLContext

_ALPN = "h2"


def client_context(
    *,
    root_certificates: Path | None = None,
    private_key: Path | None = None,
    certificate_chain: Path | None = None,
) -> ssl.SSLContext:
    """A context that verifies the server, with the system's roots unless others are given.

    Raises:
      ValueError: a file cannot be read, or has the wrong content.
    """
    try:
        context = ssl.create_default_context(cafile=root_certificates)
    except (OSError, ssl.SSLError) as exc:
        raise ValueError(f"cannot use the root certificates in {root_certificates}: {exc}") from exc
    if certificate_chain is not None:
        try:
            context.load_cert_chain(certificate_chain, private_key)
        except (OSError, ssl.SSLError) as exc:
            raise ValueError(
                f"cannot use the certificate in {certificate_chain}"
                f" with the key in {private_key}: {exc}"
            ) from exc
    return context


def prepare_context(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make the context offer HTTP/2 by ALPN, and nothing below TLS 1.2."""
    context.set_alpn_protocols([_ALPN])
    # (The constant for the lowest version is negative.)
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    return context


async def handshake(stream: trio.SSLStream[trio.abc.Stream], *, who: str) -> None:
    """Do the TLS handshake, which has to choose HTTP/2.

    Raises:
      ConnectionError: it failed or chose something else; the message says why.
    """
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as exc:
        cause = exc.__cause__ or exc
        raise ConnectionError(_explain(cause, who)) from cause
    finally:
        forget_handshake(stream)
    protocol = cast("str | None", stream.selected_alpn_protocol())
    if protocol != _ALPN:
        chosen = f"chose {protocol!r}" if protocol else "chose nothing"
        raise ConnectionError(
            f"{who} does not offer HTTP/2 over TLS: by ALPN it {chosen}, not 'h2'"
        )


def _explain(cause: BaseException, who: str) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of {who} does not verify: {cause.verify_message}"
    reason = getattr(cause, "reason", None)
    if reason == "WRONG_VERSION_NUMBER":
        return f"{who} does not speak TLS"
    if reason in {"NO_APPLICATION_PROTOCOL", "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"}:
        return f"{who} does not offer HTTP/2 over TLS: it refused the ALPN protocol 'h2'"
    return f"the TLS handshake with {who} failed: {str(cause) or type(cause).__name__}"
