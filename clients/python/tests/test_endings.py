"""What happens around the end of a client, and when something below it breaks."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from faces import GRANT, Asyncio, Face, Threads
from grpc_broker import GrpcBroker
from test_behaviour import EXPIRY, GUARANTEED, SOFT, asked, passes

from holdfast_client import AccessToken, BrokerError, Client, ClosedError, InternalError
from holdfast_client.testing import FakeBroker


def close(face: Face) -> None:
    if isinstance(face, Asyncio):
        face.run(face.client.close())
    else:
        face.client.close()


def test_a_call_that_close_ends_does_not_bring_the_token_back(
    broker: FakeBroker, face: Face
) -> None:
    first = face.token()
    broker.pause()
    if isinstance(face, Asyncio):
        report = face.loop.create_task(face.source.rejected(first))
        face.until(lambda: broker.calls["ReportRejectedToken"] == 1)
        close(face)
        assert face.run(report) is None
    else:
        join = face.background([lambda: face.source.rejected(first)])
        face.until(lambda: broker.calls["ReportRejectedToken"] == 1)
        close(face)
        assert join() == [None]
    with pytest.raises(ClosedError):
        face.token()


def test_after_close_a_rejected_token_is_an_error_too(broker: FakeBroker, face: Face) -> None:
    first = face.token()
    broker.rotate(GRANT)
    assert face.rejected(first) is not None
    close(face)
    with pytest.raises(ClosedError):
        face.rejected(first)


def break_once(face: Face, call: str, error: BaseException) -> None:
    """Let a call of the wire fail as nothing of the broker does, the first time."""
    wire: Any = face.client._wire
    whole, left = getattr(wire, call), [error]

    def broken(*args: Any) -> Any:
        if left:
            raise left.pop()
        return whole(*args)

    setattr(wire, call, broken)


def test_a_stream_that_breaks_in_an_interceptor_is_opened_again(
    new_face: Callable[..., Face], broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    face = new_face(watch=True)
    break_once(face, "watch", RuntimeError("of an interceptor"))
    face.token()
    face.until(lambda: passes(broker, 0.5) and broker.calls["WatchAccessToken"] == 1)
    broker.rotate(GRANT)
    face.until(lambda: face.token().generation >= 2)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "RuntimeError" in caplog.text


def test_a_report_that_breaks_in_an_interceptor_is_repeated(broker: FakeBroker, face: Face) -> None:
    first = face.token()
    break_once(face, "report", RuntimeError("of an interceptor"))
    assert face.rejected(first) is None
    broker.advance(2)  # as after any call that failed, nobody asks for a while
    newer = face.rejected(first)
    assert newer is not None
    assert newer.generation == 2


def test_nobody_waits_for_ever_for_a_thread_that_ended(broker: FakeBroker) -> None:
    face = Threads(broker)
    break_once(face, "get", SystemExit())
    assert isinstance(face.begin()(), InternalError)
    face.close()


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on no thread can be started, as at a limit or at the program's end."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    return lambda: monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.parametrize("age", [SOFT, GUARANTEED])
def test_a_token_that_is_good_is_handed_out_though_no_thread_can_be_started(
    broker: FakeBroker, no_threads: Callable[[], None], age: float
) -> None:
    with broker.client() as client:
        source = client.source(GRANT)
        first = source.token()
        no_threads()
        broker.advance(age)
        assert source.token() is first
        assert source.rejected(first) is None
        broker.advance(EXPIRY - age)
        with pytest.raises(BrokerError, match="no thread") as e:
            source.token()
        assert e.value.temporary
        with pytest.raises(BrokerError, match="no thread"):
            source.watch()


def test_a_call_that_somebody_else_cancels_is_one_that_failed(broker: FakeBroker) -> None:
    face = Asyncio(broker)
    broker.pause()
    outcome = face.begin()
    for task in face.client._tasks:
        task.cancel()
    got = outcome()
    assert isinstance(got, BrokerError)
    assert got.temporary
    broker.resume()
    first = face.token()
    broker.pause()
    broker.advance(GUARANTEED)
    outcome = face.begin()
    for task in face.client._tasks:
        task.cancel()
    assert outcome() is first
    broker.resume()
    face.close()


@pytest.fixture
def grpc_broker() -> Iterator[GrpcBroker]:
    broker = GrpcBroker()
    yield broker
    broker.stop()


class Slow(grpc.UnaryUnaryClientInterceptor):
    """Holds the first call until it is told to let it go."""

    def __init__(self) -> None:
        self.go, self.held = threading.Event(), threading.Event()

    def intercept_unary_unary(self, proceed: Any, details: Any, request: Any) -> Any:
        if not self.held.is_set():
            self.held.set()
            self.go.wait(20)
        return proceed(details, request)


def test_an_interceptor_that_takes_long_holds_up_its_own_call_alone(
    grpc_broker: GrpcBroker,
) -> None:
    slow = Slow()
    with Client(grpc_broker.target, plaintext=True, interceptors=[slow]) as client:
        got: list[AccessToken] = []
        held = threading.Thread(target=lambda: got.append(client.source(GRANT).token()))
        held.start()
        assert slow.held.wait(20)
        try:
            assert client.source(GRANT).token(timeout=10).generation == 1
            assert not got
        finally:
            slow.go.set()
            held.join()
    assert len(got) == 1


def test_a_call_that_close_overtakes_fails_as_closed(grpc_broker: GrpcBroker) -> None:
    slow, client = Slow(), Client(grpc_broker.target, plaintext=True)
    client._wire._interceptors = (slow,)  # type: ignore[attr-defined]
    got: list[BaseException] = []

    def ask() -> None:
        try:
            client.source(GRANT).token()
        except BaseException as e:
            got.append(e)

    asking, closing = threading.Thread(target=ask), threading.Thread(target=client.close)
    asking.start()
    assert slow.held.wait(20)
    closing.start()
    assert client._closing.wait(20)
    slow.go.set()
    closing.join(20)
    asking.join(20)
    assert [type(e) for e in got] == [ClosedError]
    assert not grpc_broker.requests


FORKED = """
import os, sys
from holdfast_client import Client, ForkedError
client = Client(sys.argv[1], plaintext=True)
source = client.source("acme/automation/jira")
first, events = source.token(), source.watch()
next(events)
child = os.fork()
if child == 0:
    for what in (lambda: next(events), lambda: source.rejected(first), source.watch):
        try:
            what()
        except ForkedError:
            print("ForkedError", flush=True)
    os._exit(0)
os.waitpid(child, 0)
client.close()
"""


def test_after_a_fork_nothing_of_a_used_client_waits_for_ever(grpc_broker: GrpcBroker) -> None:
    got = subprocess.run(
        [sys.executable, "-c", FORKED, grpc_broker.target],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert got.stdout.splitlines() == ["ForkedError"] * 3


def test_a_loop_that_ends_with_a_call_under_way_leaves_nothing(broker: FakeBroker) -> None:
    async def ask() -> None:
        source = broker.async_client().source(GRANT, watch=True)
        broker.pause()
        with pytest.raises(TimeoutError):
            await source.token(timeout=0)

    said: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
        await ask()

    asyncio.run(main())
    assert not said
    assert asked(broker) <= 1
