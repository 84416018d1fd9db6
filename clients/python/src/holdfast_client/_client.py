"""The client for threads."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import grpc

from holdfast_client import _fork
from holdfast_client._clock import Clock, SystemClock, bound
from holdfast_client._connection import DEFAULT_TIMEOUT, Connection, Path
from holdfast_client._errors import ClosedError, ForkedError, Unreachable
from holdfast_client._request import token_request
from holdfast_client._source import Source
from holdfast_client._wire import GrpcWire, Wire


class Client:
    """A connection to a broker. Safe for use by many threads; make one per process.

    Use it as a context manager, or call ``close``. It connects with the first call: a
    client that was made and not used before the process forked is good in the child, too;
    one that was used raises ForkedError there.
    """

    def __init__(
        self,
        target: str,
        *,
        cert: Path | None = None,
        key: Path | None = None,
        ca: Path | None = None,
        token_file: Path | None = None,
        plaintext: bool = False,
        timeout: float = DEFAULT_TIMEOUT,
        interceptors: Sequence[Any] = (),
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """Make a client of the broker at target, host:port or any target of gRPC.

        Args:
            target: Where the broker is.
            cert: PEM file of this caller's certificate.
            key: PEM file of its key.
            ca: PEM file of the CA that signed the broker's certificate; default: the
                system's. All three are read again when they change.
            token_file: File of the bearer token that this caller shows instead of a
                certificate, e.g. a Kubernetes projected service-account token. It is read
                again when it changes.
            plaintext: Connect without TLS and without an identity, for tests and a
                development broker. Refused for any target but a loopback address.
            timeout: Bounds one call to the broker, its own refresh included; in seconds. A
                caller that gives up earlier does not cancel the call for the others.
            interceptors: Client interceptors of grpcio, e.g. those of OpenTelemetry.
            options: Further channel arguments of gRPC.

        Raises:
            ConfigError: The target is none, there is no identity, or a file cannot be read.
        """
        connection = Connection(
            target,
            cert=cert,
            key=key,
            ca=ca,
            token_file=token_file,
            plaintext=plaintext,
            options=options,
        )
        self._begin(GrpcWire(connection, interceptors=interceptors), timeout, SystemClock())

    @classmethod
    def over(cls, channel: grpc.Channel, *, timeout: float = DEFAULT_TIMEOUT) -> Client:
        """Return a client over a channel that the caller owns: ``close`` leaves it open."""
        return cls._with(GrpcWire(None, channel), timeout, SystemClock())

    @classmethod
    def _with(cls, wire: Wire, timeout: float, clock: Clock) -> Client:
        client = cls.__new__(cls)
        client._begin(wire, timeout, clock)
        return client

    def _begin(self, wire: Wire, timeout: float, clock: Clock) -> None:
        self._wire, self._timeout, self._clock = wire, bound(timeout), clock
        self._forked = False
        self._renew_locks()
        self._sources: weakref.WeakSet[Source] = weakref.WeakSet()
        _fork.note(self)

    def _renew_locks(self) -> None:
        self._lock = threading.Lock()  # guards _threads, _sources, and starting against close
        self._closing = threading.Event()
        self._threads: set[threading.Thread] = set()

    def source(
        self,
        grant: str,
        *,
        site: str = "",
        scopes: Sequence[str] = (),
        min_ttl: float = 0.0,
        purpose: str = "",
        watch: bool = False,
    ) -> Source:
        """Return a source of tokens of a grant. It makes no call, unless it watches.

        Args:
            grant: The grant's id or its address, tenant/subject/product[/name].
            site: Cloud id or URL of the site whose API base the answers name. Default: the
                grant's only site, if it has exactly one.
            scopes: What every token must have. Default: any token will do.
            min_ttl: How long a token must still be valid when the broker hands it out, in
                seconds; at most the provider's access grace, 10 minutes at Atlassian.
            purpose: What the audit record shows, 1 to 64 of the characters a-z 0-9 . _ -.
            watch: Keep a stream open that brings newer tokens before the old ones end.

        Raises:
            InvalidRequest: The grant has not the form of one.
            ClosedError: The client is closed.
        """
        self._check()
        request = token_request(grant, site, scopes, min_ttl, purpose)
        source = Source(self, request, self._clock, watch)
        with self._lock:
            self._sources.add(source)
        return source

    def close(self) -> None:
        """Cancel all calls under way and wait until no thread of this client is left.

        Later calls, on what was made from it too, raise ClosedError. Closing twice is no
        error.
        """
        with self._lock:
            self._closing.set()
            sources, threads = list(self._sources), list(self._threads)
        if self._forked:
            return
        for source in sources:
            source._shut()
        self._wire.close()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()

    def __enter__(self) -> Client:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        self.close()

    def _check(self) -> None:
        if self._forked:
            raise ForkedError(
                "this client had connections when the process forked, and gRPC does not survive "
                "that: make a client in each process, e.g. in the server's post-fork hook"
            )
        if self._closing.is_set():
            raise ClosedError("the client is closed")

    def _start(self, run: Callable[[], None], name: str) -> None:
        """Run something on a thread that close waits for; raise Unreachable if there is none."""

        def tracked() -> None:
            try:
                run()
            finally:
                with self._lock:
                    self._threads.discard(thread)

        # A daemon, so that who forgets to close can still end the program.
        thread = threading.Thread(target=tracked, name=name, daemon=True)
        with self._lock:
            if self._closing.is_set():
                raise ClosedError("the client is closed")
            self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError as e:  # the interpreter is ending, or the limit is reached
                self._threads.discard(thread)
                raise Unreachable(
                    f"no thread can be started for the call to the broker: {e}", code="UNAVAILABLE"
                ) from e

    def _after_fork(self) -> None:
        """Make this a client of the child, or one that says that it cannot be."""
        busy = bool(self._threads) or self._wire.used
        closed = self._closing.is_set()
        self._renew_locks()
        if closed:
            self._closing.set()
        self._forked = busy and not closed
        for source in list(self._sources):
            source._shut(forked=True)

    def _at_exit(self) -> None:
        with contextlib.suppress(Exception):
            self.close()
