"""What whoever watches a grant is told, and how often a stream is tried again."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from holdfast_client._cache import spread
from holdfast_client._errors import BrokerError
from holdfast_client._token import AccessToken

# How long to wait after a stream dropped: doubled each time up to the second, in seconds.
FIRST_BACKOFF, MAX_BACKOFF = 1.0, 60.0


_log = logging.getLogger("holdfast_client")


def broken(grant: str, error: Exception) -> None:
    """Log that a stream ended by what is no answer: nobody waits for it who could be told."""
    # The type alone: what foreign code writes into its errors may be anybody's secret.
    _log.warning(
        "watching %s failed with %s; another stream is opened", grant, type(error).__name__
    )


@dataclass(frozen=True)
class WatchEvent:
    """What became of a watched grant: a token, or why there is none. One of both is set."""

    token: AccessToken | None = None
    error: BrokerError | None = None


def event_of(news: AccessToken | BrokerError) -> WatchEvent:
    """Return the event that tells the news."""
    return WatchEvent(token=news) if isinstance(news, AccessToken) else WatchEvent(error=news)


def same(a: AccessToken | BrokerError | None, b: AccessToken | BrokerError | None) -> bool:
    """Whether two states are one to whoever watches. A link is signed anew each time."""
    if isinstance(a, AccessToken) and isinstance(b, AccessToken):
        return a.generation == b.generation and a.api_base_url == b.api_base_url
    if isinstance(a, BrokerError) and isinstance(b, BrokerError):
        return (a.reason, a.metadata.get("why")) == (b.reason, b.metadata.get("why"))
    return a is b


class Backoff:
    """The time between two tries to open a stream: it doubles, with jitter."""

    def __init__(self) -> None:
        """Begin with the shortest."""
        self._base = FIRST_BACKOFF

    def reset(self) -> None:
        """Begin anew: a stream brought something."""
        self._base = FIRST_BACKOFF

    def next(self, named: float) -> float:
        """Return the seconds to wait, at least what the broker named if it did."""
        base, self._base = self._base, min(self._base * 2, MAX_BACKOFF)
        return spread(max(base, min(named, MAX_BACKOFF)))
