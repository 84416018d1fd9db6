"""What the sources for threads and for asyncio have in common around a call."""

from __future__ import annotations

from holdfast_client import _clock
from holdfast_client._cache import STATIC_WAIT, Cache, spread
from holdfast_client._clock import Clock, Moment
from holdfast_client._errors import (
    BrokerError,
    CallerUnauthenticated,
    HoldfastError,
    RefreshInProgress,
    again,
    is_temporary,
)
from holdfast_client._status import from_message
from holdfast_client._token import AccessToken, age, from_answer
from holdfast_client.v1 import token_service_pb2 as pb

# The least time between two questions while a refresh is in progress.
PROGRESS_DELAY = 0.1


class TokenAccepted(HoldfastError):
    """The provider accepts the reported token: its refusal has another cause."""


class SourceCore:
    """The cache of a source, its request, and its words; no waiting and no locks."""

    def __init__(self, request: pb.GetAccessTokenRequest, clock: Clock) -> None:
        """Make one that has no token yet."""
        self._request, self._clock = request, clock
        self._mono, self._wall = clock.monotonic, clock.wall
        self._cache = Cache()
        # The newest token, for callers that need nothing else: read without a lock. None
        # once the client is closed, which calls under way then do not change.
        self._hot: AccessToken | None = None
        self._over = False  # the client is closed
        # The newest state that whoever watches is told of.
        self._news: AccessToken | BrokerError | None = None
        # Seconds that this machine's clock is ahead of the broker's, at most; None: unknown.
        self._ahead: float | None = None

    @property
    def grant(self) -> str:
        """The grant's id, or its address."""
        g = self._request.grant
        if g.HasField("id"):
            return g.id
        a = g.address
        return "/".join(s for s in (a.tenant, a.subject, a.product, a.name) if s)

    def __repr__(self) -> str:
        """Name the grant; never a token."""
        return f"<{type(self).__name__} of {self.grant}>"

    def _now(self) -> Moment:
        return _clock.now(self._clock)

    def _asking(self, rejected: int) -> pb.GetAccessTokenRequest:
        avoid = self._cache.avoid(rejected)
        if not avoid:
            return self._request
        request = pb.GetAccessTokenRequest()
        request.CopyFrom(self._request)
        request.if_not_generation = avoid
        return request

    def _reporting(self, rejected: int, status: int) -> pb.ReportRejectedTokenRequest:
        return pb.ReportRejectedTokenRequest(
            grant=self._request.grant, generation=rejected, http_status=status
        )

    def _watching(self) -> pb.WatchAccessTokenRequest:
        request = pb.WatchAccessTokenRequest(token=self._asking(0))
        request.token.ClearField("min_ttl")
        current = self._cache.current
        if current is not None:
            request.token.if_not_generation = max(
                current.generation, request.token.if_not_generation
            )
        return request

    def _learn(self, sent: Moment, answer: pb.GetAccessTokenResponse) -> AccessToken:
        """Return the token of an answer to a call."""
        token = from_answer(sent, answer)
        self._ahead = sent.mono - answer.server_time.ToNanoseconds() / 1e9
        return token

    def _learn_pushed(
        self, opened: Moment, first: bool, answer: pb.GetAccessTokenResponse
    ) -> AccessToken:
        """Return the token of a stream's message, as old as it can be.

        It may have lain in a buffer, of a suspended machine for hours. The last answer to
        a call says what the broker's clock showed when; without one, and for the first
        message, which a stream without a generation brings at once, it is the opening.
        """
        got = self._now()
        if self._ahead is None or (first and not self._cache.current):
            return self._learn(opened, answer)
        lag = got.mono - (answer.server_time.ToNanoseconds() / 1e9 + self._ahead)
        lag = min(max(lag, 0.0), got.mono - opened.mono)
        return from_answer(Moment(got.mono - lag, got.wall - lag), answer)

    def _settle(self, got: AccessToken | HoldfastError, losses: int) -> None:
        self._cache.settle(got, losses, self._now())
        self._publish(got)

    def _message(self, m: pb.WatchAccessTokenResponse, opened: Moment, first: bool) -> None:
        """Note what a stream brought; an event of a kind that is not known here is nothing."""
        kind = m.WhichOneof("event")
        if kind == "token":
            token = self._learn_pushed(opened, first, m.token)
            if self._cache.pushed(token):
                self._publish(token)
        elif kind == "unavailable":
            error = from_message(m.unavailable)
            self._cache.unavailable(error, self._now())
            self._publish(error)

    def _dropped(self, error: BrokerError) -> bool:
        """Note why a stream ended; return whether to ask by a call at once."""
        if error.temporary:
            return False
        # A credential that has ended may have a successor, which the next call shows.
        if not isinstance(error, CallerUnauthenticated):
            self._cache.unavailable(error, self._now())
            self._publish(error)
        return True

    def _heat(self) -> None:
        self._hot = None if self._over else self._cache.current

    def _publish(self, got: AccessToken | HoldfastError) -> None:
        if isinstance(got, HoldfastError):
            # Callers get copies. Its frames keep the call, and that the connection: in a ring,
            # so that what close has ended would go on until the collector finds it.
            got.__traceback__ = None
        self._heat()
        if isinstance(got, AccessToken) or (isinstance(got, BrokerError) and not got.temporary):
            self._news = got


def progress_delay(error: RefreshInProgress) -> float:
    """Return the seconds until a refresh in progress is asked for again."""
    return spread(max(error.retry_after, PROGRESS_DELAY))


def alive(token: AccessToken | None, now: Moment) -> AccessToken | None:
    """Return the token if it has not expired."""
    return token if token is not None and age(token, now) < token._expiry_age else None


def patience(left: float | None, old: AccessToken | None) -> float | None:
    """Return how long a caller waits who has so long left, and maybe a token to fall back on."""
    if old is None:
        return left
    return STATIC_WAIT if left is None else min(left, STATIC_WAIT)


def answer(got: AccessToken | HoldfastError, old: AccessToken | None) -> AccessToken | None:
    """Return what a call brought to a caller; None: look again; or raise why there is none."""
    if isinstance(got, AccessToken):
        return got
    if isinstance(got, TokenAccepted) or (old is not None and is_temporary(got)):
        return old
    raise again(got)
