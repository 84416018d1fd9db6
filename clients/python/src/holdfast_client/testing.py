"""A broker in memory, for unit tests of programs that use this package.

::

    def test_sync_survives_a_rotation():
        with FakeBroker() as broker, broker.client() as client:
            source = client.source("acme/automation/jira")
            assert source.token().reveal() == "fake-token-1"
            broker.rotate("acme/automation/jira")
            broker.refuse("acme/automation/jira", ConsentRequired("ask Ann"))
            broker.advance(3600)  # its clock, and the clients', stand still otherwise
            with pytest.raises(ConsentRequired):
                source.token()

Its clients are those of the package with all that they do; only what they talk to is
another, and nothing leaves the process. Time passes by ``advance`` alone.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any

from holdfast_client._aio_client import AsyncClient
from holdfast_client._client import Client
from holdfast_client._connection import DEFAULT_TIMEOUT
from holdfast_client._errors import BrokerError, ClosedError, Unreachable
from holdfast_client._fakegrant import FakeGrant
from holdfast_client._request import selector
from holdfast_client.v1 import grant_pb2
from holdfast_client.v1 import token_service_pb2 as pb

__all__ = ["FakeBroker", "FakeClock"]

_POLL = 0.002  # seconds between two looks at what others change


class FakeClock:
    """Clocks that stand still until ``advance``."""

    def __init__(self) -> None:
        """Begin on an afternoon in 2026."""
        self._mono, self._wall = 1_000.0, 1_790_000_000.0

    def monotonic(self) -> float:
        """Seconds on a clock that nobody sets."""
        return self._mono

    def wall(self) -> float:
        """Seconds since 1970 on the clock that somebody may set."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let time pass on both."""
        self._mono += seconds
        self._wall += seconds

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock by so much; negative: back."""
        self._wall += seconds

    def wait(self, event: threading.Event, timeout: float | None) -> bool:
        """Wait for the event until it is set or so much has passed on this clock."""
        end = None if timeout is None else self._mono + timeout
        while not event.wait(_POLL):
            if end is not None and self._mono >= end:
                return event.is_set()
        return True

    async def wait_for(self, future: asyncio.Future[Any], timeout: float | None) -> bool:
        """Wait for the future until it is done or so much has passed on this clock."""
        end = None if timeout is None else self._mono + timeout
        while not future.done():
            if end is not None and self._mono >= end:
                return False
            await asyncio.wait({future}, timeout=_POLL)
        return True


class FakeBroker:
    """Hands out tokens ``fake-token-1``, ``fake-token-2``, ... of any grant that it is asked for.

    Safe for use by many threads.

    Attributes:
        clock: That of the broker and of all its clients.
        calls: How often each rpc was called, by its name.
        api_base_url: What the answers name; empty: none.
        accept_reported: What the broker finds out about a token that is reported as
            rejected: true: the provider accepts it; false (the default): it does not, and a
            newer one is made.
    """

    def __init__(
        self, *, lifetime: float = 3600.0, api_base_url: str = "https://api.example/ex/jira/cloud-1"
    ) -> None:
        """Make one whose tokens live for so many seconds."""
        self.clock = FakeClock()
        self.calls: Counter[str] = Counter()
        self.api_base_url = api_base_url
        self.accept_reported = False
        self._lifetime = lifetime
        self._lock = threading.Lock()  # guards all below
        self._grants: dict[str, FakeGrant] = {}
        self._unreachable = False
        self._going = threading.Event()
        self._going.set()
        self._clients: list[Client] = []

    def client(self, *, timeout: float = DEFAULT_TIMEOUT) -> Client:
        """Return a client of this broker."""
        client = Client._with(_FakeWire(self), timeout, self.clock)
        self._clients.append(client)
        return client

    def async_client(self, *, timeout: float = DEFAULT_TIMEOUT) -> AsyncClient:
        """Return a client for asyncio of this broker."""
        return AsyncClient._with(_AsyncFakeWire(self), timeout, self.clock)

    def rotate(self, grant: str) -> None:
        """Make a newer token, and tell the watchers."""
        with self._lock:
            self._grant(selector(grant)).rotate(self.clock.wall())

    def refuse(self, grant: str, error: BrokerError) -> None:
        """Refuse the grant from now on, e.g. with ``ConsentRequired(...)``; tell the watchers."""
        with self._lock:
            self._grant(selector(grant)).refuse(error)

    def allow(self, grant: str) -> None:
        """Take the refusal back; a newer token is made."""
        self.rotate(grant)

    def expire(self, grant: str) -> None:
        """Let time pass until the grant's present token has expired."""
        with self._lock:
            left = self._grant(selector(grant)).expires_at - self.clock.wall()
        self.advance(max(0.0, left))

    def advance(self, seconds: float) -> None:
        """Let time pass, for the broker and its clients."""
        self.clock.advance(seconds)

    def go_away(self) -> None:
        """Answer nothing from now on: calls fail with Unreachable, and streams break."""
        with self._lock:
            self._unreachable = True
            for grant in self._grants.values():
                grant.break_streams()

    def come_back(self) -> None:
        """Answer again."""
        self._unreachable = False

    def pause(self) -> None:
        """Let calls wait for their answers until ``resume``."""
        self._going.clear()

    def resume(self) -> None:
        """Answer the calls that wait, and those to come."""
        self._going.set()

    def __enter__(self) -> FakeBroker:
        """Return the broker."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the clients for threads that it made; one for asyncio is closed by its test."""
        for client in self._clients:
            client.close()

    def _grant(self, which: grant_pb2.GrantSelector) -> FakeGrant:
        key = which.SerializeToString(deterministic=True)
        name = key.hex()
        if name not in self._grants:
            self._grants[name] = FakeGrant(self._lifetime, self.clock.wall())
        return self._grants[name]

    def _answer(self, request: pb.GetAccessTokenRequest) -> pb.GetAccessTokenResponse:
        with self._lock:
            self._reach()
            return self._grant(request.grant).answer(self.clock.wall(), self.api_base_url)

    def _report(self, request: pb.ReportRejectedTokenRequest) -> pb.ReportRejectedTokenResponse:
        with self._lock:
            self._reach()
            verdict = self._grant(request.grant).report(
                request.generation, self.accept_reported, self.clock.wall()
            )
            return pb.ReportRejectedTokenResponse(verdict=verdict)

    def _open(
        self, request: pb.WatchAccessTokenRequest
    ) -> queue.Queue[pb.WatchAccessTokenResponse | None]:
        with self._lock:
            self._reach()
            grant = self._grant(request.token.grant)
            return grant.open(request.token.if_not_generation, self.clock.wall(), self.api_base_url)

    def _reach(self) -> None:
        if self._unreachable:
            raise Unreachable("the broker has gone away", code="UNAVAILABLE")


class _FakeWire:
    """See holdfast_client._wire.Wire."""

    used = False

    def __init__(self, broker: FakeBroker) -> None:
        self._broker, self._closed = broker, False

    def get(self, request: pb.GetAccessTokenRequest, timeout: float) -> pb.GetAccessTokenResponse:
        self._wait("GetAccessToken", timeout)
        return self._broker._answer(request)

    def report(
        self, request: pb.ReportRejectedTokenRequest, timeout: float
    ) -> pb.ReportRejectedTokenResponse:
        self._wait("ReportRejectedToken", timeout)
        return self._broker._report(request)

    def watch(self, request: pb.WatchAccessTokenRequest) -> Iterator[pb.WatchAccessTokenResponse]:
        self._wait("WatchAccessToken", None)
        messages = self._broker._open(request)
        while not self._closed:
            try:
                message = messages.get(timeout=_POLL)
            except queue.Empty:
                continue
            if message is None:
                raise Unreachable("the stream broke", code="UNAVAILABLE")
            yield message
        raise ClosedError("the client is closed")

    def close(self) -> None:
        self._closed = True

    def _wait(self, call: str, timeout: float | None) -> None:
        b = self._broker
        b.calls[call] += 1
        end = None if timeout is None else b.clock.monotonic() + timeout
        while not b._going.wait(_POLL) and not self._closed:
            _in_time(b, end)
        if self._closed:
            raise ClosedError("the client is closed")


class _AsyncFakeWire:
    """See holdfast_client._aio_wire.AsyncWire."""

    used = False

    def __init__(self, broker: FakeBroker) -> None:
        self._broker, self._closed = broker, False

    async def get(
        self, request: pb.GetAccessTokenRequest, timeout: float
    ) -> pb.GetAccessTokenResponse:
        await self._wait("GetAccessToken", timeout)
        return self._broker._answer(request)

    async def report(
        self, request: pb.ReportRejectedTokenRequest, timeout: float
    ) -> pb.ReportRejectedTokenResponse:
        await self._wait("ReportRejectedToken", timeout)
        return self._broker._report(request)

    async def watch(
        self, request: pb.WatchAccessTokenRequest
    ) -> AsyncIterator[pb.WatchAccessTokenResponse]:
        await self._wait("WatchAccessToken", None)
        messages = self._broker._open(request)
        while not self._closed:
            try:
                message = messages.get_nowait()
            except queue.Empty:
                await asyncio.sleep(_POLL)
                continue
            if message is None:
                raise Unreachable("the stream broke", code="UNAVAILABLE")
            yield message
        raise ClosedError("the client is closed")

    async def close(self) -> None:
        self._closed = True

    async def _wait(self, call: str, timeout: float | None) -> None:
        b = self._broker
        b.calls[call] += 1
        end = None if timeout is None else b.clock.monotonic() + timeout
        await asyncio.sleep(0)  # as a call over a network never answers at once
        while not b._going.is_set() and not self._closed:
            _in_time(b, end)
            await asyncio.sleep(_POLL)
        if self._closed:
            raise ClosedError("the client is closed")


def _in_time(broker: FakeBroker, end: float | None) -> None:
    if end is not None and broker.clock.monotonic() >= end:
        raise Unreachable("the broker did not answer in time", code="DEADLINE_EXCEEDED")
