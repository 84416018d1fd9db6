"""Watching, with both faces against the broker in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from faces import GRANT, Face
from test_behaviour import EXPIRY, SOFT, asked, passes

from holdfast_client import AccessToken, ConsentRequired, GrantRevoked, ProviderUnavailable
from holdfast_client._token import age
from holdfast_client.testing import FakeBroker


@pytest.fixture
def watching(new_face: Callable[..., Face], broker: FakeBroker) -> Face:
    face = new_face(watch=True)
    face.token()
    face.until(lambda: broker.calls["WatchAccessToken"] == 1)
    return face


def streaming(face: Face, broker: FakeBroker) -> None:
    """Wait until the stream has brought something."""
    broker.rotate(GRANT)
    face.until(lambda: face.token().generation == 2)


def test_a_newer_token_comes_without_a_call(watching: Face, broker: FakeBroker) -> None:
    streaming(watching, broker)
    broker.advance(SOFT + 10)
    assert watching.token().generation == 2  # the stream is about to bring the next
    watching.quiet()
    assert asked(broker) == 1


def test_a_final_refusal_drops_the_token(watching: Face, broker: FakeBroker) -> None:
    broker.refuse(GRANT, GrantRevoked("ended"))
    watching.until(lambda: watching.source._cache.current is None)
    with pytest.raises(GrantRevoked):
        watching.token()
    broker.allow(GRANT)
    watching.until(lambda: watching.source._cache.current is not None)
    assert watching.token().generation == 2


def test_a_refusal_that_passes_keeps_it(watching: Face, broker: FakeBroker) -> None:
    streaming(watching, broker)
    broker.refuse(GRANT, ProviderUnavailable("down", code="UNAVAILABLE", retry_after=60))
    watching.until(lambda: watching.source._cache.failure is not None)
    assert watching.token().generation == 2


def test_a_final_refusal_ends_the_pause_of_one_that_passes(
    watching: Face, broker: FakeBroker
) -> None:
    streaming(watching, broker)
    broker.refuse(GRANT, ProviderUnavailable("down", code="UNAVAILABLE", retry_after=60))
    watching.until(lambda: watching.source._cache.failure is not None)
    broker.refuse(GRANT, GrantRevoked("ended"))
    watching.until(lambda: watching.source._cache.current is None)
    with pytest.raises(GrantRevoked):
        watching.token()


def test_without_the_stream_it_polls_and_opens_another(watching: Face, broker: FakeBroker) -> None:
    streaming(watching, broker)
    broker.go_away()
    watching.until(lambda: not watching.source._cache.streaming)
    broker.advance(SOFT)
    assert watching.token().generation == 2
    broker.come_back()
    watching.until(lambda: passes(broker, 1) and broker.calls["WatchAccessToken"] >= 2)
    watching.until(lambda: passes(broker, 1) and watching.token().generation == 3)


def test_a_message_that_lay_in_a_buffer_is_as_old_as_it_is(
    new_face: Callable[..., Face], broker: FakeBroker
) -> None:
    face = new_face(watch=True)
    face.token()
    face.until(lambda: broker.calls["WatchAccessToken"] == 1)
    # The machine is suspended: what the broker sends waits for it, for an hour.
    with getattr(face.source, "_lock", contextlib.nullcontext()):
        broker.rotate(GRANT)
        broker.advance(EXPIRY)
    face.until(
        lambda: isinstance(face.source._news, AccessToken) and face.source._news.generation > 1
    )
    newest = face.source._news
    assert isinstance(newest, AccessToken)
    assert newest.generation == 2
    assert age(newest, face.source._now()) >= EXPIRY
    assert face.token().generation == 3


def test_an_iterator_tells_each_state_once(
    new_face: Callable[..., Face], broker: FakeBroker
) -> None:
    face = new_face()
    following = face.events()
    first = following()
    assert first.token is not None
    assert first.token.generation == 1
    broker.rotate(GRANT)
    second = following()
    assert second.token is not None
    assert second.token.generation == 2
    broker.refuse(GRANT, ConsentRequired("again", metadata={"link": "https://x.example"}))
    refused = following().error
    assert isinstance(refused, ConsentRequired)
    assert refused.link == "https://x.example"
    broker.rotate(GRANT)
    assert following().token is not None
    assert asked(broker) == 0
