"""What a source knows and what follows from it; no I/O, no locks, no clock of its own.

The clients for threads and for asyncio share it, and bring the calls to the broker and
the waiting. Whoever uses it lets nobody else in meanwhile.
"""

from __future__ import annotations

import random
from enum import Enum
from typing import NamedTuple

from holdfast_client._clock import Moment
from holdfast_client._errors import BrokerError, HoldfastError, is_temporary
from holdfast_client._token import AccessToken, age
from holdfast_client.v1 import token_service_pb2 as pb

# How long a caller waits for the broker, in seconds, while an old token that is no
# longer guaranteed, but not expired either, lies ready.
STATIC_WAIT = 2.0
# The least time after a failed background call, and the most that the broker may name.
RETRY_DELAY, MAX_RETRY_DELAY = 1.0, 60.0
# The least time before a report that brought no verdict is repeated.
UNVERIFIED_DELAY = 60.0


def retry_delay(named: float) -> float:
    """Return how long to wait after a failure for which the broker named a time, or 0."""
    return spread(min(max(named, RETRY_DELAY), MAX_RETRY_DELAY))


def spread(seconds: float) -> float:
    """Return a time by up to half longer.

    Callers that were refused together must not come back together, and none of them
    before the time that the broker named.
    """
    return seconds * random.uniform(1.0, 1.5)  # noqa: S311


class Look(NamedTuple):
    """What to do for a caller who wants a token."""

    token: AccessToken | None = None
    """To hand out at once; if ``wait``, only to fall back on."""
    ask: bool = False
    """A call to the broker is to be started."""
    wait: bool = False
    """The caller waits for the call under way."""
    error: HoldfastError | None = None
    """To raise at once."""


class Next(Enum):
    """What to do for a caller whose token was rejected."""

    USE_CURRENT = "there is a newer token already"
    GIVE_UP = "nothing came of reporting it before, or the broker wants to be left alone now"
    REPORT = "start a call that reports it"
    WAIT = "a call is under way: wait for it and look again"


class Cache:
    """The token of one source, and when to ask for another."""

    def __init__(self) -> None:
        """Make an empty one."""
        self.current: AccessToken | None = None
        # A stream is open, or about to be.
        self.streaming = False
        # How often a stream took the token away: what a call brings that was under way
        # then may have been answered before.
        self.losses = 0
        # Generation that was refused: the next one must be newer. 0: none.
        self.refused = 0
        # Generation last reported as rejected, and when it may be reported once more.
        self.reported = 0
        self.report_again: float | None = None
        # No call before retry_at; until then failure is the answer if there is no token.
        self.retry_at = float("-inf")
        self.failure: HoldfastError | None = None

    def look(self, now: Moment, flying: bool) -> Look:
        """Say what to do for a caller; ``flying``: a call is under way."""
        t = self.current
        old = age(t, now) if t is not None else 0.0
        if t is not None and old >= t._expiry_age:
            self.current = t = None
        held = now.mono < self.retry_at
        if t is not None and old < t._soft_age:
            return Look(t)
        if t is not None and self.streaming and old < (t._soft_age + t._guaranteed_age) / 2:
            return Look(t)  # the stream is about to bring a newer one, if there is one
        if t is not None and old < t._guaranteed_age:
            return Look(t, ask=not (flying or held))
        if held and not flying:
            return Look(t) if t is not None else Look(error=self.failure)
        return Look(t, ask=not flying, wait=True)

    def settle(self, got: AccessToken | HoldfastError, losses: int, now: Moment) -> None:
        """Note how a call ended that began when there had been so many losses."""
        self.retry_at, self.failure = float("-inf"), None
        if isinstance(got, AccessToken):
            if losses == self.losses:
                self._take(got)
        elif is_temporary(got):
            self._postpone(got, now)
        elif isinstance(got, BrokerError):
            self.current = None  # a refusal is about this grant or this caller: believe it

    def pushed(self, token: AccessToken) -> bool:
        """Note a token that a stream brought; return whether it may be handed out."""
        if token.generation <= self.refused:
            return False
        self._take(token)
        self.retry_at, self.failure = float("-inf"), None
        return True

    def unavailable(self, error: BrokerError, now: Moment) -> None:
        """Note that a stream said that there is no token, or ended for that reason."""
        if error.temporary:
            self._postpone(error, now)
        else:
            self.current = None
            self.losses += 1
            # The next call asks why, whatever failed before.
            self.retry_at, self.failure = float("-inf"), None

    def _take(self, token: AccessToken) -> None:
        t = self.current
        # A grant that was purged and made again counts from 1 again, under another id.
        if t is None or t.grant_id != token.grant_id or t.generation <= token.generation:
            self.current = token
        if token.generation > self.refused:
            self.refused = 0

    def _postpone(self, error: HoldfastError, now: Moment) -> None:
        named = error.retry_after if isinstance(error, BrokerError) else 0.0
        # With nothing to hand out and no time named, the next caller may try at once.
        if self.current is not None or named > 0:
            self.retry_at, self.failure = now.mono + retry_delay(named), error

    def rejected(self, generation: int, now: Moment, flying: bool) -> Next:
        """Say what to do for a caller whose token of a generation was rejected."""
        t = self.current
        if t is not None and t.generation > generation and age(t, now) < t._expiry_age:
            return Next.USE_CURRENT
        if flying:
            return Next.WAIT
        again = self.report_again is not None and now.mono >= self.report_again
        if generation < self.reported or (generation == self.reported and not again):
            return Next.GIVE_UP
        if now.mono < self.retry_at:
            return Next.GIVE_UP
        self.reported, self.report_again = generation, None
        return Next.REPORT

    def unreported(self, now: Moment) -> None:
        """Note that the broker did not hear of the report."""
        self.report_again = now.mono

    def verdict(self, generation: int, verdict: int, now: Moment) -> bool:
        """Note the broker's verdict; return whether to ask for another token."""
        if verdict == pb.TOKEN_VERDICT_TOKEN_ACCEPTED:
            return False
        if verdict in (pb.TOKEN_VERDICT_TOKEN_REJECTED, pb.TOKEN_VERDICT_GENERATION_STALE):
            self.refused = generation
            if self.current is not None and self.current.generation <= generation:
                self.current = None
        else:
            self.report_again = now.mono + UNVERIFIED_DELAY
        return True

    def avoid(self, rejected: int) -> int:
        """Return the generation to name as rejected in the next call; 0: none."""
        return max(self.refused, rejected)
