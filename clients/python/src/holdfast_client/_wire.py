"""Calls to the broker over grpcio, for threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import grpc

from holdfast_client._connection import STREAM_TIMEOUT, Connection
from holdfast_client._errors import ClosedError
from holdfast_client._status import from_rpc
from holdfast_client._telemetry import trace_metadata
from holdfast_client.v1 import token_service_pb2 as pb
from holdfast_client.v1.token_service_pb2_grpc import TokenServiceStub


class Wire(Protocol):
    """The calls that a client makes. They block, and raise BrokerError or ClosedError."""

    def get(self, request: pb.GetAccessTokenRequest, timeout: float) -> pb.GetAccessTokenResponse:
        """Ask for a token."""
        ...

    def report(
        self, request: pb.ReportRejectedTokenRequest, timeout: float
    ) -> pb.ReportRejectedTokenResponse:
        """Report a rejected one."""
        ...

    def watch(self, request: pb.WatchAccessTokenRequest) -> Iterator[pb.WatchAccessTokenResponse]:
        """Open a stream and yield what comes, until it breaks (an error) or ends."""
        ...

    def close(self) -> None:
        """Cancel all calls under way; later ones raise ClosedError."""
        ...

    @property
    def used(self) -> bool:
        """Whether gRPC has been touched, so that a fork would break this."""
        ...


class _Line:
    """A channel, and the calls on it; guarded by the wire's lock."""

    def __init__(self, channel: grpc.Channel, owned: bool) -> None:
        self.channel, self.owned = channel, owned
        self.stub = TokenServiceStub(channel)
        self.users = 0  # calls, those included that only begin
        self.calls: set[Any] = set()
        self.retired = False


class GrpcWire:
    """A wire over a channel of its own, made anew when the identity's files change.

    grpcio takes certificates once, when a channel is made; so a renewed one means another
    channel. The calls on the old one end in peace.
    """

    def __init__(
        self,
        connection: Connection | None,
        channel: grpc.Channel | None = None,
        interceptors: Sequence[Any] = (),
    ) -> None:
        """Make one to a connection, or over a channel that somebody else owns."""
        self._connection, self._interceptors = connection, tuple(interceptors)
        self._lock = threading.Lock()  # guards all below
        self._line = _Line(channel, owned=False) if channel is not None else None
        self._lines = {self._line} if self._line else set()
        self._closed = False

    @property
    def used(self) -> bool:
        """See Wire."""
        return self._line is not None

    def get(self, request: pb.GetAccessTokenRequest, timeout: float) -> pb.GetAccessTokenResponse:
        """See Wire."""
        answer: pb.GetAccessTokenResponse = self._unary(
            lambda stub: stub.GetAccessToken, request, timeout
        )
        return answer

    def report(
        self, request: pb.ReportRejectedTokenRequest, timeout: float
    ) -> pb.ReportRejectedTokenResponse:
        """See Wire."""
        answer: pb.ReportRejectedTokenResponse = self._unary(
            lambda stub: stub.ReportRejectedToken, request, timeout
        )
        return answer

    def watch(self, request: pb.WatchAccessTokenRequest) -> Iterator[pb.WatchAccessTokenResponse]:
        """See Wire."""

        def start(stub: TokenServiceStub) -> Any:
            return stub.WatchAccessToken(request, timeout=STREAM_TIMEOUT, metadata=trace_metadata())

        with self._call(start) as call:
            yield from call

    def _unary(
        self, method: Callable[[TokenServiceStub], Any], request: Any, timeout: float
    ) -> Any:
        def start(stub: TokenServiceStub) -> Any:
            # A future, since only that can be cancelled by close.
            return method(stub).future(request, timeout=timeout, metadata=trace_metadata())

        with self._call(start) as call:
            return call.result()

    @contextmanager
    def _call(self, start: Callable[[TokenServiceStub], Any]) -> Iterator[Any]:
        with self._lock:
            if self._closed:
                raise ClosedError("the client is closed")
            line = self._current()
            line.users += 1
        call = None
        try:
            # Without the lock: interceptors of the application run in here.
            call = start(line.stub)
            self._started(line, call)
            yield call
        except grpc.FutureCancelledError:
            raise ClosedError("the client is closed") from None
        except ValueError:
            if self._closed:  # before the call began: grpcio has no other word for it
                raise ClosedError("the client is closed") from None
            raise
        except grpc.RpcError as e:
            if self._closed:
                raise ClosedError("the client is closed") from None
            way = self._connection.way if self._connection else None
            raise from_rpc(e, way) from e
        finally:
            if call is not None:
                call.cancel()  # what is left of a stream; nothing for a call that has ended
            self._ended(line, call)

    def _started(self, line: _Line, call: Any) -> None:
        with self._lock:
            line.calls.add(call)
            closed = self._closed
        if closed:  # meanwhile, and not by close, which did not know of it
            call.cancel()

    def _current(self) -> _Line:
        line, connection = self._line, self._connection
        if connection is None:
            assert line is not None
            return line
        # Also before the first: the files may have been replaced since the client was made.
        changed = connection.changed()
        if line is None or changed:
            if line is not None:
                self._retire(line)
            self._line = line = _Line(self._open(connection), owned=True)
            self._lines.add(line)
        return line

    def _open(self, connection: Connection) -> grpc.Channel:
        credentials = connection.credentials()
        if credentials is None:
            channel = grpc.insecure_channel(connection.target, connection.options)
        else:
            channel = grpc.secure_channel(connection.target, credentials, connection.options)
        return grpc.intercept_channel(channel, *self._interceptors)

    def _retire(self, line: _Line) -> None:
        line.retired = True
        if not line.users and line.owned:
            line.channel.close()
            self._lines.discard(line)

    def _ended(self, line: _Line, call: Any) -> None:
        with self._lock:
            line.users -= 1
            line.calls.discard(call)
            if line.retired:
                self._retire(line)

    def close(self) -> None:
        """See Wire."""
        with self._lock:
            self._closed = True
            lines = list(self._lines)
            calls = [call for line in lines for call in line.calls]
        for call in calls:
            call.cancel()
        for line in lines:
            if line.owned:
                line.channel.close()
