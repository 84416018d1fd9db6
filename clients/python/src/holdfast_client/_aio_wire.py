"""Calls to the broker over grpc.aio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

import grpc
import grpc.aio

from holdfast_client._connection import STREAM_TIMEOUT, Connection
from holdfast_client._errors import ClosedError
from holdfast_client._status import from_rpc
from holdfast_client._telemetry import trace_metadata
from holdfast_client.v1 import token_service_pb2 as pb
from holdfast_client.v1.token_service_pb2_grpc import TokenServiceStub


class AsyncWire(Protocol):
    """The calls that a client makes. They raise BrokerError or ClosedError."""

    async def get(
        self, request: pb.GetAccessTokenRequest, timeout: float
    ) -> pb.GetAccessTokenResponse:
        """Ask for a token."""
        ...

    async def report(
        self, request: pb.ReportRejectedTokenRequest, timeout: float
    ) -> pb.ReportRejectedTokenResponse:
        """Report a rejected one."""
        ...

    def watch(
        self, request: pb.WatchAccessTokenRequest
    ) -> AsyncIterator[pb.WatchAccessTokenResponse]:
        """Open a stream and yield what comes, until it breaks (an error) or ends."""
        ...

    async def close(self) -> None:
        """Cancel all calls under way; later ones raise ClosedError."""
        ...

    @property
    def used(self) -> bool:
        """Whether gRPC has been touched, so that a fork would break this."""
        ...


class _Line:
    """A channel, and the number of calls on it."""

    def __init__(self, channel: grpc.aio.Channel, owned: bool) -> None:
        self.channel, self.owned = channel, owned
        self.stub = TokenServiceStub(cast(Any, channel))
        self.calls = 0
        self.retired = False


class GrpcAioWire:
    """A wire over a channel of its own, made anew when the identity's files change.

    See GrpcWire. All of it runs on one event loop, so that nothing needs a lock.
    """

    def __init__(
        self,
        connection: Connection | None,
        channel: grpc.aio.Channel | None = None,
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> None:
        """Make one to a connection, or over a channel that somebody else owns."""
        self._connection, self._interceptors = connection, list(interceptors)
        self._line = _Line(channel, owned=False) if channel is not None else None
        self._lines = {self._line} if self._line else set()
        self._closed = False

    @property
    def used(self) -> bool:
        """See AsyncWire."""
        return self._line is not None

    async def get(
        self, request: pb.GetAccessTokenRequest, timeout: float
    ) -> pb.GetAccessTokenResponse:
        """See AsyncWire."""
        return cast(
            pb.GetAccessTokenResponse,
            await self._unary(lambda stub: stub.GetAccessToken, request, timeout),
        )

    async def report(
        self, request: pb.ReportRejectedTokenRequest, timeout: float
    ) -> pb.ReportRejectedTokenResponse:
        """See AsyncWire."""
        return cast(
            pb.ReportRejectedTokenResponse,
            await self._unary(lambda stub: stub.ReportRejectedToken, request, timeout),
        )

    async def watch(
        self, request: pb.WatchAccessTokenRequest
    ) -> AsyncIterator[pb.WatchAccessTokenResponse]:
        """See AsyncWire."""
        async with self._on_line() as stub:
            call: Any = cast(Any, stub).WatchAccessToken(
                request, timeout=STREAM_TIMEOUT, metadata=trace_metadata()
            )
            try:
                async for message in call:
                    yield message
            finally:
                call.cancel()

    async def _unary(
        self, method: Callable[[TokenServiceStub], Any], request: Any, timeout: float
    ) -> Any:
        async with self._on_line() as stub:
            return await method(stub)(request, timeout=timeout, metadata=trace_metadata())

    @asynccontextmanager
    async def _on_line(self) -> AsyncIterator[TokenServiceStub]:
        if self._closed:
            raise ClosedError("the client is closed")
        line = await self._current()
        line.calls += 1
        try:
            yield line.stub
        except grpc.RpcError as e:
            if self._closed:
                raise ClosedError("the client is closed") from None
            way = self._connection.way if self._connection else None
            raise from_rpc(e, way) from e
        finally:
            line.calls -= 1
            if line.retired:
                await self._retire(line)

    async def _current(self) -> _Line:
        line, connection = self._line, self._connection
        if connection is None:
            assert line is not None
            return line
        # Also before the first: the files may have been replaced since the client was made.
        changed = connection.changed()
        if line is None or changed:
            self._line = fresh = _Line(self._open(connection), owned=True)
            self._lines.add(fresh)
            if line is not None:
                await self._retire(line)
            return fresh
        return line

    def _open(self, connection: Connection) -> grpc.aio.Channel:
        credentials = connection.credentials()
        if credentials is None:
            return grpc.aio.insecure_channel(
                connection.target, connection.options, interceptors=self._interceptors
            )
        return grpc.aio.secure_channel(
            connection.target, credentials, connection.options, interceptors=self._interceptors
        )

    async def _retire(self, line: _Line) -> None:
        line.retired = True
        if not line.calls and line.owned:
            self._lines.discard(line)
            await line.channel.close()

    async def close(self) -> None:
        """See AsyncWire."""
        self._closed = True
        lines, self._lines = self._lines, set()
        await asyncio.gather(*(line.channel.close() for line in lines if line.owned))
