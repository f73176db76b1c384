"""Reports of runs as bytes, to keep them outside of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..model.runs import RunReport

__all__ = ["decode_report", "encode_report"]

# The messages of the API are imported with the first report: not every dispatcher reports.


def decode_report(data: bytes) -> RunReport:
    """Decode a report.

    Raises:
      DecodeError: the bytes are not a report.
    """
    from ..api import runs  # noqa: PLC0415

    return runs.decode_report(data)


def encode_report(report: RunReport) -> bytes:
    """Encode a report."""
    from ..api import runs  # noqa: PLC0415

    return runs.encode_report(report)
