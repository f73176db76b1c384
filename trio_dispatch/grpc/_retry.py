"""When a call that has failed is repeated, by gRFC A6; sans-IO.

https://github.com/grpc/proposal/blob/master/A6-client-retries.md
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from grpclib.const import Status

from ._metadata import Headers

PUSHBACK: Final = "grpc-retry-pushback-ms"
PREVIOUS_ATTEMPTS: Final = "grpc-previous-rpc-attempts"

_MAX_ATTEMPTS: Final = 5
_JITTER: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Which calls are repeated when they fail, and how often.

    It applies to calls with one request and one reply, until the headers of a reply have come.
    (A request that the server has promised not to have looked at is repeated anyway, whatever the
    method.)

    A server may ask for another pause, or for no repetition, with ``grpc-retry-pushback-ms`` in the
    metadata of the error.  A call is not repeated if its deadline would pass before.

    Raises:
      ValueError: a value is invalid; the message names it.
    """

    methods: Collection[str]
    """Methods that may be called twice, as in ``package.Service/Method``; ``package.Service`` means
    all methods of the service."""
    statuses: Collection[Status] = frozenset({Status.UNAVAILABLE})
    """The statuses after which a call is repeated."""
    max_attempts: int = 4
    """How often a call is made at most, 2 to 5."""
    initial_backoff: float = 0.1
    """Seconds before the second attempt, give or take a fifth."""
    backoff_multiplier: float = 2.0
    """How much longer each further pause is than the one before."""
    max_backoff: float = 5.0
    """Seconds of the longest pause, give or take a fifth."""
    max_tokens: int = 10
    """Repetitions stop for all calls of the channel when more than half of these tokens are spent:
    each failure spends one."""
    token_ratio: float = 0.1
    """The part of a token that each success gives back."""

    def __post_init__(self) -> None:
        if not 2 <= self.max_attempts <= _MAX_ATTEMPTS:
            raise ValueError(f"max_attempts is {self.max_attempts}, expected 2 to {_MAX_ATTEMPTS}")
        for name in (
            *("initial_backoff", "backoff_multiplier", "max_backoff", "max_tokens", "token_ratio"),
        ):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} is {value!r}, expected a positive number")
        if isinstance(self.methods, str):
            raise ValueError(f"methods is the string {self.methods!r}, expected several")
        if Status.OK in self.statuses:
            raise ValueError("statuses contains OK")


class Retries:
    """The policy of a channel, and its tokens."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy
        self.tokens = float(policy.max_tokens)
        self._methods = frozenset(policy.methods)

    def attempts(self, method: str) -> Attempts | None:
        """The attempts of a call, None if it must not be repeated."""
        name = method.removeprefix("/")
        if name in self._methods or name.partition("/")[0] in self._methods:
            return Attempts(self)
        return None

    @property
    def allowed(self) -> bool:
        """Whether calls have succeeded often enough lately."""
        return self.tokens > self.policy.max_tokens / 2


class Attempts:
    """The attempts of one call.

    Attributes:
      repeated: How often it was repeated.
    """

    def __init__(self, retries: Retries) -> None:
        self.repeated = 0
        self._retries = retries
        self._backoff = retries.policy.initial_backoff

    def succeeded(self) -> None:
        """The call has ended with OK."""
        retries = self._retries
        retries.tokens = min(
            retries.tokens + retries.policy.token_ratio, float(retries.policy.max_tokens)
        )

    def pause(self, status: Status, trailers: Headers | None) -> float | None:
        """The seconds until the next attempt, None if the failure is final.

        Args:
          status: That of the last attempt.
          trailers: What the server has sent with it, if it has.
        """
        policy = self._retries.policy
        pushback = dict(trailers or ()).get(PUSHBACK)
        final = pushback is not None and not (pushback.isascii() and pushback.isdigit())
        if status in policy.statuses or final:
            self._retries.tokens = max(0.0, self._retries.tokens - 1)
        if (
            final
            or status not in policy.statuses
            or self.repeated + 1 >= policy.max_attempts
            or not self._retries.allowed
        ):
            return None
        if pushback is not None:
            self._backoff = policy.initial_backoff
            return int(pushback) / 1000
        backoff = min(self._backoff, policy.max_backoff)
        self._backoff *= policy.backoff_multiplier
        return backoff * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
