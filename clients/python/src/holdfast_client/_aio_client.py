"""The client for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any

import grpc.aio

from holdfast_client import _fork
from holdfast_client._aio_source import AsyncSource
from holdfast_client._aio_wire import AsyncWire, GrpcAioWire
from holdfast_client._clock import Clock, SystemClock, bound
from holdfast_client._connection import DEFAULT_TIMEOUT, Connection, Path
from holdfast_client._errors import ClosedError, ConfigError, ForkedError
from holdfast_client._request import token_request


class AsyncClient:
    """A connection to a broker, for the tasks of one event loop: the first that uses it.

    Use it as an asynchronous context manager, or await ``close``. It connects with the
    first call. After a fork it is as ``Client`` is.
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
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """Make a client of the broker at target; all arguments are those of ``Client``.

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
        wire = GrpcAioWire(connection, interceptors=interceptors)
        self._start_up(wire, timeout, SystemClock())

    @classmethod
    def over(cls, channel: grpc.aio.Channel, *, timeout: float = DEFAULT_TIMEOUT) -> AsyncClient:
        """Return a client over a channel that the caller owns: ``close`` leaves it open."""
        return cls._with(GrpcAioWire(None, channel), timeout, SystemClock())

    @classmethod
    def _with(cls, wire: AsyncWire, timeout: float, clock: Clock) -> AsyncClient:
        client = cls.__new__(cls)
        client._start_up(wire, timeout, clock)
        return client

    def _start_up(self, wire: AsyncWire, timeout: float, clock: Clock) -> None:
        self._wire, self._timeout, self._clock = wire, bound(timeout), clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = self._forked = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._sources: weakref.WeakSet[AsyncSource] = weakref.WeakSet()
        _fork.note(self)

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def source(
        self,
        grant: str,
        *,
        site: str = "",
        scopes: Sequence[str] = (),
        min_ttl: float = 0.0,
        purpose: str = "",
        watch: bool = False,
    ) -> AsyncSource:
        """Return a source of tokens of a grant; all arguments are those of ``Client.source``.

        It makes no call; one that watches opens its stream at the first use.
        """
        if self._closed:
            raise ClosedError("the client is closed")
        request = token_request(grant, site, scopes, min_ttl, purpose)
        source = AsyncSource(self, request, self._clock, watch)
        self._sources.add(source)
        return source

    async def close(self) -> None:
        """Cancel all calls under way and wait until no task of this client is left.

        Later calls, on what was made from it too, raise ClosedError. Closing twice is no
        error.
        """
        self._closed = True
        if self._forked:
            return
        for source in list(self._sources):
            source._shut()
        mine = asyncio.current_task()
        tasks = [t for t in self._tasks if t is not mine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._wire.close()

    async def __aenter__(self) -> AsyncClient:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        await self.close()

    def _check(self) -> None:
        if self._forked:
            raise ForkedError(
                "this client had connections when the process forked, and gRPC does not survive "
                "that: make a client in each process, e.g. in the server's post-fork hook"
            )
        if self._closed:
            raise ClosedError("the client is closed")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise ConfigError("this client belongs to another event loop: make one in each")

    def _start(self, run: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something as a task that close cancels and waits for."""
        task = asyncio.get_running_loop().create_task(run, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _sleep(self, seconds: float) -> None:
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._clock.wait_for(never, seconds)

    def _after_fork(self) -> None:
        """Make this a client of the child, or one that says that it cannot be."""
        self._forked = (bool(self._tasks) or self._wire.used) and not self._closed
        for source in list(self._sources):
            source._hot = None

    def _at_exit(self) -> None:
        with contextlib.suppress(Exception):
            self._closed = True
