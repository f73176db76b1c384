"""Pages of dispatches as bytes, to keep dispatches outside of the service."""

from ..api.replies import decode_page, encode_page

__all__ = ["decode_page", "encode_page"]
