"""The rules of the cache that take two things at once to show."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast_client import AccessToken, GrantRevoked, Unreachable
from holdfast_client._cache import Cache
from holdfast_client._clock import Moment
from holdfast_client._flight import TokenAccepted, answer
from holdfast_client._token import from_answer
from holdfast_client.v1 import token_service_pb2 as pb


def at(seconds: float) -> Moment:
    return Moment(1000 + seconds, 5000 + seconds)


def token(generation: int, grant: str = "grt_a", sent: float = 0.0) -> AccessToken:
    return from_answer(
        at(sent),
        pb.GetAccessTokenResponse(
            access_token="t",
            generation=generation,
            grant_id=grant,
            server_time=Timestamp(seconds=9000),
            refresh_after=Timestamp(seconds=9060),
            guaranteed_until=Timestamp(seconds=9080),
            expires_at=Timestamp(seconds=9100),
        ),
    )


def test_an_expired_token_is_not_handed_out_while_calls_are_held_back() -> None:
    cache = Cache()
    cache.settle(token(1), 0, at(0))
    cache.settle(Unreachable("gone", code="UNAVAILABLE", retry_after=50), 0, at(90))
    assert cache.look(at(99), False).token is not None
    look = cache.look(at(100), False)
    assert look.token is None
    assert isinstance(look.error, Unreachable)


def test_a_call_that_was_under_way_when_a_stream_ended_the_grant_brings_nothing() -> None:
    cache = Cache()
    before = cache.losses
    cache.unavailable(GrantRevoked("ended"), at(1))
    cache.settle(token(1), before, at(2))
    assert cache.current is None
    cache.settle(token(2), cache.losses, at(3))
    assert cache.current is not None


@pytest.mark.parametrize(
    ("grant", "generation", "want"),
    [("grt_a", 4, 5), ("grt_a", 5, 5), ("grt_a", 6, 6), ("grt_b", 1, 1)],
)
def test_an_older_token_replaces_none_but_that_of_another_grant(
    grant: str, generation: int, want: int
) -> None:
    for take in ("call", "stream"):
        cache = Cache()
        cache.settle(token(5), 0, at(0))
        newer = token(generation, grant)
        if take == "call":
            cache.settle(newer, 0, at(1))
        else:
            cache.pushed(newer)
        assert cache.current is not None
        assert cache.current.generation == want


def test_a_report_that_brought_no_verdict_is_repeated_after_a_minute() -> None:
    cache = Cache()
    cache.settle(token(1), 0, at(0))
    assert cache.rejected(1, at(1), False).name == "REPORT"
    assert cache.verdict(1, pb.TOKEN_VERDICT_UNVERIFIED, at(1))
    assert cache.rejected(1, at(60), False).name == "GIVE_UP"
    assert cache.rejected(1, at(61), False).name == "REPORT"


def test_a_rejected_token_does_not_come_back_by_a_stream() -> None:
    cache = Cache()
    cache.settle(token(3), 0, at(0))
    cache.rejected(3, at(1), False)
    cache.verdict(3, pb.TOKEN_VERDICT_TOKEN_REJECTED, at(1))
    assert cache.current is None
    assert not cache.pushed(token(3))
    assert cache.avoid(0) == 3
    assert cache.pushed(token(4))
    assert cache.avoid(0) == 0


def test_whoever_waited_for_a_report_looks_again_when_the_token_was_accepted() -> None:
    old = token(1)
    assert answer(TokenAccepted("fine"), old) is old
    assert answer(TokenAccepted("fine"), None) is None


def test_what_the_broker_says_is_brought_to_sane_ages() -> None:
    t = from_answer(
        at(0),
        pb.GetAccessTokenResponse(
            access_token="t",
            server_time=Timestamp(seconds=9000),
            expires_at=Timestamp(seconds=9100),
            guaranteed_until=Timestamp(seconds=9500),  # after the expiry
            refresh_after=Timestamp(seconds=8000),  # overdue
        ),
    )
    assert (t._soft_age, t._guaranteed_age, t._expiry_age) == (5, 100, 100)


def test_a_newer_token_that_has_expired_is_no_cure_for_a_rejected_one() -> None:
    cache = Cache()
    cache.settle(token(2), 0, at(0))
    assert cache.rejected(1, at(99), False).name == "USE_CURRENT"
    assert cache.rejected(1, at(100), False).name == "REPORT"
