"""One answer of the broker: a token, and how long it is good for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast_client._clock import Moment
from holdfast_client._errors import InternalError
from holdfast_client.v1 import token_service_pb2 as pb

# The least time between two background calls for one token, in seconds, also if the
# broker says that a refresh is overdue: it tries by itself.
MIN_INTERVAL = 5.0


@dataclass(frozen=True)
class Site:
    """A site of the provider: its cloud id and URL."""

    cloud_id: str
    url: str
    name: str = ""


class AccessToken:
    """An access token. Nothing that formats one shows it; ``reveal`` does.

    It does not change. Ask its source again for each use rather than keep it.
    """

    __slots__ = (
        "_expiry_age",
        "_fresh_mono",
        "_fresh_wall",
        "_guaranteed_age",
        "_secret",
        "_sent",
        "_soft_age",
        "api_base_url",
        "generation",
        "grant_id",
        "scopes",
        "site",
    )

    generation: int
    """Counts the rotations of the grant."""
    api_base_url: str
    """Base URL of the product's API for the site, without a trailing slash; may be empty."""
    grant_id: str
    """Stable id of the grant."""
    scopes: tuple[str, ...]
    """What the provider granted."""
    site: Site | None
    """The site asked for, or the grant's only one."""

    _secret: str
    # When the request was sent, and ages from there in seconds: to ask again in the
    # background; the provider may refuse the token; it surely does.
    _sent: Moment
    _soft_age: float
    _guaranteed_age: float
    _expiry_age: float
    # The soft age as readings of both clocks, for the call that happens most.
    _fresh_mono: float
    _fresh_wall: float

    def reveal(self) -> str:
        """Return the token itself. Send it as ``Authorization: Bearer``; never log it."""
        return self._secret

    @property
    def authorization(self) -> str:
        """The value of the Authorization header. As secret as the token."""
        return "Bearer " + self._secret

    def __repr__(self) -> str:
        """Name the grant and the generation only."""
        return f"<AccessToken of {self.grant_id or '?'}, generation {self.generation}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: tokens stay in memory."""
        raise TypeError("an AccessToken is not written anywhere: ask the source where you need it")


def age(token: AccessToken, now: Moment) -> float:
    """Return the seconds since the token's request was sent.

    A suspended machine may stop the monotonic clock, and somebody may set the wall clock:
    the one that ran further is believed, since a call too many does no harm.
    """
    return max(now.mono - token._sent.mono, now.wall - token._sent.wall)


def from_answer(sent: Moment, answer: pb.GetAccessTokenResponse) -> AccessToken:
    """Return the token of an answer to a request that was sent at a moment.

    Ages count by the broker's clock, and from the sending rather than from the answer,
    so that they err on the early side by at most the call's round trip.
    """
    times = answer.HasField("expires_at") and answer.HasField("server_time")
    if not answer.access_token or not times:
        raise InternalError(
            "the broker's answer lacks the token, its expiry or the time of the answer; report this"
        )
    t = AccessToken()
    t._secret, t._sent = answer.access_token, sent
    t.generation, t.api_base_url = answer.generation, answer.api_base_url
    t.grant_id, t.scopes, t.site = answer.grant_id, tuple(answer.scopes), None
    if answer.HasField("site"):
        t.site = Site(answer.site.cloud_id, answer.site.url, answer.site.name)
    _ages(t, answer)
    t._fresh_mono, t._fresh_wall = sent.mono + t._soft_age, sent.wall + t._soft_age
    return t


def _ages(t: AccessToken, answer: pb.GetAccessTokenResponse) -> None:
    t._expiry_age = seconds_between(answer.server_time, answer.expires_at)
    guaranteed = t._expiry_age
    if answer.HasField("guaranteed_until"):
        guaranteed = min(guaranteed, seconds_between(answer.server_time, answer.guaranteed_until))
    soft = guaranteed
    if answer.HasField("refresh_after"):
        soft = seconds_between(answer.server_time, answer.refresh_after)
    if soft >= guaranteed:
        # Ask early enough that nobody ever has to wait for the answer.
        soft = guaranteed * 3 / 4
    t._guaranteed_age = guaranteed
    t._soft_age = min(max(soft, MIN_INTERVAL), guaranteed)


def seconds_between(start: Timestamp, end: Timestamp) -> float:
    """Return the seconds from one time of the broker to another; negative: before."""
    return (end.seconds - start.seconds) + (end.nanos - start.nanos) / 1e9
