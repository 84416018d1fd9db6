"""What a client leaves of its connections when it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from faces import GRANT
from grpc_broker import GrpcBroker, refuse

from holdfast_client import AsyncClient, Client, HoldfastError

Fail = Callable[[str], BaseException]


class Deaf(GrpcBroker):
    """Refuses every call and every stream for good."""

    def __init__(self) -> None:
        super().__init__()
        self.handler = lambda request, context: refuse(
            context, grpc.StatusCode.NOT_FOUND, "GRANT_NOT_FOUND"
        )

    def WatchAccessToken(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield self.handler(request, context)


class Way:
    """Takes one connection on to a broker, and sees the caller end it."""

    def __init__(self, broker: GrpcBroker) -> None:
        self._broker, self.ended = broker, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        caller, _ = self._listener.accept()
        with caller, socket.create_connection(("127.0.0.1", self._broker.port)) as onward:
            back = threading.Thread(target=_pump, args=(onward, caller))
            back.start()
            _pump(caller, onward)
            self.ended.set()
            with contextlib.suppress(OSError):
                onward.shutdown(socket.SHUT_RDWR)
            back.join(20)

    def close(self) -> None:
        self._listener.close()
        self._thread.join(20)


def _pump(here: socket.socket, there: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := here.recv(65536):
            there.sendall(data)


@pytest.fixture
def way() -> Iterator[Way]:
    broker = Deaf()
    way = Way(broker)
    # What only a collection would end has not ended: the next one may be hours away.
    gc.collect()
    gc.disable()
    yield way
    gc.enable()
    gc.collect()
    way.close()
    broker.stop()


def ask(target: str) -> BaseException:
    with Client(target, plaintext=True) as client:
        with pytest.raises(HoldfastError) as e:
            client.source(GRANT).token()
        return e.value


def ask_async(target: str) -> BaseException:
    async def call() -> BaseException:
        async with AsyncClient(target, plaintext=True) as client:
            with pytest.raises(HoldfastError) as e:
                await client.source(GRANT).token()
            return e.value

    return asyncio.run(call())


def watch_async(target: str) -> BaseException:
    async def call() -> BaseException:
        async with AsyncClient(target, plaintext=True) as client:
            event = await anext(client.source(GRANT).watch())
            assert event.error is not None
            return event.error

    return asyncio.run(call())


@pytest.mark.parametrize("fail", [ask, ask_async, watch_async])
def test_close_ends_the_connection_of_a_call_that_failed(way: Way, fail: Fail) -> None:
    kept = fail(way.target)  # by a program that shows its last error
    assert way.ended.wait(5)
    assert isinstance(kept, HoldfastError)
