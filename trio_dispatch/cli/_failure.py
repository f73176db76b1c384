"""How a command ends that failed."""

from __future__ import annotations

import click

__all__ = ["Failure"]


class Failure(click.ClickException):
    """The command ends with an exit status of its own.

    Args:
      message: What went wrong; empty if that has been told already.
    """

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status
