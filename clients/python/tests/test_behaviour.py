"""The one behaviour of all clients, with both faces against the broker in memory."""

from __future__ import annotations

import pickle

import pytest
from faces import GRANT, Face

from holdfast_client import (
    AccessToken,
    AppPaused,
    BrokerError,
    CallerTimeout,
    ClosedError,
    ConsentRequired,
    GrantRevoked,
    ProviderUnavailable,
    RefreshInProgress,
    Unreachable,
)
from holdfast_client.testing import FakeBroker

# Of a token of the broker in memory: it lives for an hour, is renewed in its last
# quarter, and is guaranteed until seven eighths.
SOFT, GUARANTEED, EXPIRY = 2700.0, 3150.0, 3600.0


def passes(broker: FakeBroker, seconds: float) -> bool:
    """Let time pass while a test waits for what it brings."""
    broker.advance(seconds)
    return True


def asked(broker: FakeBroker) -> int:
    return broker.calls["GetAccessToken"]


def test_a_token_is_asked_for_once_while_it_is_fresh(broker: FakeBroker, face: Face) -> None:
    first = face.token()
    broker.advance(SOFT - 1)
    assert face.token() is first
    assert asked(broker) == 1
    assert first.reveal() == "fake-token-1"
    assert first.api_base_url == "https://api.example/ex/jira/cloud-1"


def test_a_storm_is_one_call(broker: FakeBroker, face: Face) -> None:
    got = face.storm(200)
    assert {t.reveal() for t in got if isinstance(t, AccessToken)} == {"fake-token-1"}
    assert not [t for t in got if not isinstance(t, AccessToken)]
    assert asked(broker) == 1


def test_it_is_renewed_in_the_background(broker: FakeBroker, face: Face) -> None:
    face.token()
    broker.pause()
    broker.advance(SOFT)
    assert face.token().generation == 1  # at once, although the broker does not answer
    assert face.token().generation == 1
    broker.resume()
    face.quiet()
    assert face.token().generation == 2
    assert asked(broker) == 2


def test_past_the_guarantee_callers_wait_a_little_and_then_fail_static(
    broker: FakeBroker, face: Face
) -> None:
    face.token()
    broker.pause()
    broker.advance(GUARANTEED)
    call = face.begin()
    face.until(lambda: asked(broker) == 2)
    broker.advance(1.9)
    waiting = face.begin()
    broker.advance(2.0)
    assert call().generation == 1
    assert waiting().generation == 1
    assert asked(broker) == 2


def test_past_the_guarantee_the_answer_is_waited_for(broker: FakeBroker, face: Face) -> None:
    face.token()
    broker.advance(GUARANTEED)
    assert face.token().generation == 2


def test_an_unreachable_broker_is_no_failure_before_the_expiry(
    broker: FakeBroker, face: Face
) -> None:
    face.token()
    broker.go_away()
    broker.advance(EXPIRY - 10)
    assert face.token().generation == 1
    broker.advance(10)
    with pytest.raises(Unreachable):
        face.token()
    broker.come_back()
    broker.advance(2)
    assert face.token().generation == 2


def test_a_token_that_expires_while_its_caller_waits_is_not_handed_out(
    broker: FakeBroker, face: Face
) -> None:
    face.token()
    broker.pause()
    broker.advance(EXPIRY - 1)
    call = face.begin()
    face.until(lambda: asked(broker) == 2)
    broker.advance(2)
    broker.resume()
    assert call().generation == 2


def test_background_calls_that_fail_are_spread(broker: FakeBroker, face: Face) -> None:
    face.token()
    broker.refuse(GRANT, ProviderUnavailable("down", code="UNAVAILABLE", retry_after=30))
    broker.advance(SOFT)
    face.token()
    face.quiet()
    for _ in range(10):
        assert face.token().generation == 1
    face.quiet()
    assert asked(broker) == 2
    broker.advance(29.9)  # never before the time that the broker named
    face.token()
    face.quiet()
    assert asked(broker) == 2
    broker.advance(15.2)  # and half of it later at the latest
    face.token()
    face.quiet()
    assert asked(broker) == 3


def test_with_nothing_to_hand_out_the_named_time_is_kept(broker: FakeBroker, face: Face) -> None:
    broker.refuse(GRANT, ProviderUnavailable("down", code="UNAVAILABLE", retry_after=30))
    for _ in range(3):
        with pytest.raises(ProviderUnavailable) as e:
            face.token()
        assert e.value.retry_after == 30
    assert asked(broker) == 1


def test_a_refusal_is_believed_at_once(broker: FakeBroker, face: Face) -> None:
    face.token()
    link = "https://holdfast.example/connect/x"
    broker.refuse(
        GRANT,
        ConsentRequired("consent again", metadata={"link": link, "why": "REFUSED"}),
    )
    broker.advance(SOFT)
    assert face.token().generation == 1
    face.quiet()
    with pytest.raises(ConsentRequired) as e:
        face.token()
    assert (e.value.link, e.value.why) == (link, "REFUSED")
    broker.allow(GRANT)
    assert face.token().generation == 2


def test_errors_that_many_raise_do_not_collect_their_stacks(broker: FakeBroker, face: Face) -> None:
    broker.refuse(GRANT, AppPaused("paused"))
    got = face.storm(20)
    assert all(isinstance(e, AppPaused) for e in got)
    assert len({id(e) for e in got}) == 20


def test_a_refresh_in_progress_is_asked_for_again(broker: FakeBroker, face: Face) -> None:
    error = RefreshInProgress("wait", code="UNAVAILABLE", retry_after=5)
    broker.refuse(GRANT, error)
    call = face.begin()
    face.until(lambda: asked(broker) == 1)
    face.until(lambda: face.source._flight is not None)
    broker.allow(GRANT)
    face.until(lambda: passes(broker, 0.5) and asked(broker) == 2)
    assert call().generation == 2


def test_a_caller_that_gives_up_does_not_end_the_call(broker: FakeBroker, face: Face) -> None:
    broker.pause()
    hasty, patient = face.begin(3.0), face.begin()
    face.until(lambda: asked(broker) == 1)
    broker.advance(3.1)
    got = hasty()
    assert isinstance(got, CallerTimeout)
    assert isinstance(got, TimeoutError)
    broker.resume()
    assert patient().generation == 1
    assert asked(broker) == 1


def test_the_wall_clock_can_only_make_a_token_older(broker: FakeBroker, face: Face) -> None:
    face.token()
    broker.clock.set_wall(-400_000)
    broker.clock._mono += SOFT - 1
    assert face.token().generation == 1
    face.quiet()
    assert asked(broker) == 1
    broker.clock._mono += 2
    face.token()
    face.quiet()
    assert asked(broker) == 2


def test_a_suspended_machine_finds_its_token_old(broker: FakeBroker, face: Face) -> None:
    face.token()
    broker.clock.set_wall(EXPIRY + 1)  # the monotonic clock stood still
    assert face.token().generation == 2


def test_rejected_reports_once_and_brings_a_newer_one(broker: FakeBroker, face: Face) -> None:
    first = face.token()
    newer = face.rejected(first)
    assert newer is not None
    assert newer.generation == 2
    assert face.rejected(first) is newer
    assert face.token() is newer
    assert broker.calls["ReportRejectedToken"] == 1


def test_nothing_is_reported_while_the_broker_wants_to_be_left_alone(
    broker: FakeBroker, face: Face
) -> None:
    token = face.token()
    broker.refuse(GRANT, ProviderUnavailable("later", code="UNAVAILABLE", retry_after=30))
    broker.advance(SOFT)
    assert face.token() is token
    face.quiet()
    for _ in range(3):
        assert face.rejected(token) is None
        broker.advance(9)
    assert (asked(broker), broker.calls["ReportRejectedToken"]) == (2, 0)
    broker.allow(GRANT)
    broker.advance(18)  # half as long again, at the most
    newer = face.rejected(token)
    assert newer is not None
    assert newer.generation == 2
    assert broker.calls["ReportRejectedToken"] == 1


def test_rejected_gives_up_when_the_provider_accepts_the_token(
    broker: FakeBroker, face: Face
) -> None:
    broker.accept_reported = True
    first = face.token()
    assert face.rejected(first) is None
    assert face.rejected(first) is None
    assert face.token() is first
    assert broker.calls["ReportRejectedToken"] == 1
    assert asked(broker) == 1


def test_a_report_that_the_broker_did_not_hear_is_repeated(broker: FakeBroker, face: Face) -> None:
    first = face.token()
    broker.go_away()
    assert face.rejected(first) is None
    broker.come_back()
    broker.advance(2)
    newer = face.rejected(first)
    assert newer is not None
    assert newer.generation == 2


def test_close_ends_everything(broker: FakeBroker, face: Face) -> None:
    face.token()
    broker.pause()
    broker.advance(EXPIRY)
    call = face.begin()
    face.until(lambda: asked(broker) == 2)
    if hasattr(face, "run"):
        face.run(face.client.close())
    else:
        face.client.close()
    assert isinstance(call(), ClosedError)
    with pytest.raises(ClosedError):
        face.token()
    with pytest.raises(ClosedError):
        face.client.source(GRANT)


def test_closing_forgets_a_token_that_is_still_good(broker: FakeBroker, face: Face) -> None:
    face.token()
    if hasattr(face, "run"):
        face.run(face.client.close())
    else:
        face.client.close()
    with pytest.raises(ClosedError):
        face.token()


def test_nothing_shows_a_token(face: Face) -> None:
    token = face.token()
    for thing in (token, face.source, face.client):
        for text in (repr(thing), str(thing), f"{thing}", f"{vars(type(thing))}"):
            assert "fake-token" not in text
    with pytest.raises(TypeError, match="not written"):
        pickle.dumps(token)


def test_errors_survive_pickling() -> None:
    error = GrantRevoked("ended", code="FAILED_PRECONDITION", metadata={"request_id": "r1"})
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is GrantRevoked
    assert str(copy) == str(error) == "GRANT_REVOKED: ended (request r1)"
    assert isinstance(copy, BrokerError)
