"""Reports of runs as bytes, to keep them outside of the service."""

from ..api.runs import decode_report, encode_report

__all__ = ["decode_report", "encode_report"]
