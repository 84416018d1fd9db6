"""A source of one grant's tokens, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from holdfast_client._aio_watch import AsyncWatcher
from holdfast_client._cache import Next
from holdfast_client._clock import Clock, until
from holdfast_client._errors import (
    CallerTimeout,
    ClosedError,
    ConfigError,
    HoldfastError,
    InternalError,
    RefreshInProgress,
    Unreachable,
    again,
)
from holdfast_client._flight import (
    SourceCore,
    TokenAccepted,
    alive,
    answer,
    patience,
    progress_delay,
)
from holdfast_client._news import WatchEvent
from holdfast_client._token import AccessToken
from holdfast_client.v1 import token_service_pb2 as pb

if TYPE_CHECKING:
    from holdfast_client._aio_client import AsyncClient


class _Flight:
    """One call to the broker that any number of callers wait for."""

    def __init__(self, rejected: int = 0, status: int = 0) -> None:
        # Generation to report first, and the status that it met; 0: none.
        self.rejected, self.status = rejected, status
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Set before done, and never changed after it.
        self.outcome: AccessToken | HoldfastError = InternalError("the call did not end")


class AsyncSource(SourceCore):
    """Hands out access tokens of one grant from a cache that it keeps fresh.

    For the tasks of one event loop. Make one per grant, and per site if several are used,
    by ``AsyncClient.source``, and keep it.
    """

    def __init__(
        self, client: AsyncClient, request: pb.GetAccessTokenRequest, clock: Clock, watch: bool
    ) -> None:
        """For ``AsyncClient.source``."""
        super().__init__(request, clock)
        self._client = client
        self._flight: _Flight | None = None
        self._changed: asyncio.Event | None = None  # set, and replaced, with each news
        self._wants_watch = watch
        self._watcher: AsyncWatcher | None = None

    async def token(self, timeout: float | None = None) -> AccessToken:
        """Return a token that is valid now.

        Waits only if there is none in the cache: as long as the client's timeout, or
        ``timeout`` seconds if that is less, and then raises CallerTimeout. Raises
        BrokerError if the broker gives none, and ClosedError. A caller that is cancelled
        does not cancel the call that others wait for.
        """
        hot = self._hot
        if hot is not None and self._mono() < hot._fresh_mono and self._wall() < hot._fresh_wall:
            return hot
        return await self._token(timeout)

    async def api_base_url(self, timeout: float | None = None) -> str:
        """Return the base URL of the product's API for the site, without a trailing slash.

        Waits and raises as ``token`` does, and ConfigError if the grant has no site or
        several and the source names none.
        """
        base = (await self.token(timeout)).api_base_url
        if not base:
            raise ConfigError(
                "the grant has no site or several, so there is no API base URL; choose one by site="
            )
        return base

    async def rejected(
        self, token: AccessToken, status: int = 401, timeout: float | None = None
    ) -> AccessToken | None:
        """Say that the API answered a token with 401, and return a newer one if there is.

        Reports the generation to the broker, once, and waits for its answer. None says that
        there is no newer token, e.g. since the provider accepts this one: hand the 401 on.
        The HTTP integrations of this package do this; call it only from one of your own.
        """
        self._client._check()
        end = until(timeout)
        while True:
            todo = self._cache.rejected(token.generation, self._now(), self._flight is not None)
            if todo is Next.USE_CURRENT:
                return self._cache.current
            if todo is Next.GIVE_UP:
                return None
            flight = self._flight
            if flight is None:
                flight = self._launch(_Flight(token.generation, status))
            left = None if end is None else max(0.0, end - time.monotonic())
            if not await self._clock.wait_for(flight.done, left):
                return None
            got = flight.outcome
            if isinstance(got, AccessToken) and got.generation > token.generation:
                return got
            if flight.rejected == token.generation or isinstance(got, ClosedError):
                return None

    def watch(self) -> AsyncIterator[WatchEvent]:
        """Yield the present state, and each newer one as it comes, until the client closes.

        The first use makes the source watch, as ``watch=True`` of ``AsyncClient.source``
        does. A consumer that falls behind finds the newest state alone.
        """
        self._client._check()
        self._begin_watching(True)
        assert self._watcher is not None
        return self._watcher.events()

    def _begin_watching(self, wanted: bool) -> None:
        """Open a stream, unless there is one."""
        if wanted and self._watcher is None and not self._client.closed:
            self._watcher = AsyncWatcher(self)
            self._watcher.start()

    async def _token(self, timeout: float | None) -> AccessToken:
        end = until(timeout)
        while True:
            self._client._check()
            look = self._cache.look(self._now(), self._flight is not None)
            if look.error is not None:
                raise again(look.error)
            if look.ask:
                self._launch(_Flight())
            old, flight = look.token, self._flight
            if old is not None and (flight is None or not look.wait):
                return old
            assert flight is not None
            left = None if end is None else max(0.0, end - time.monotonic())
            if not await self._clock.wait_for(flight.done, patience(left, old)):
                still = alive(old, self._now())
                if still is not None:
                    return still
                if old is None or (end is not None and time.monotonic() >= end):
                    raise CallerTimeout(f"no token of {self.grant} within {timeout} s")
                continue  # it expired meanwhile: wait on without it
            token = answer(flight.outcome, alive(old, self._now()))
            if token is not None:
                return token

    def _launch(self, flight: _Flight) -> _Flight:
        """Start a call; the task has a copy of the caller's context, and so its trace."""
        losses = self._cache.losses

        async def run() -> None:
            flight.outcome = await self._fly(flight)

        def ended(task: asyncio.Task[None]) -> None:
            # Here rather than in run, of which nothing runs if it is cancelled at once.
            if task.cancelled():
                # By close; or by somebody else, such as a loop that ends: that passes.
                flight.outcome = (
                    ClosedError("the client is closed")
                    if self._client.closed
                    else Unreachable("the call to the broker was cancelled", code="CANCELLED")
                )
            self._flight = None
            self._settle(flight.outcome, losses)
            self._tell()
            # Not before the first answer, so that the stream need not bring it as well.
            self._begin_watching(self._wants_watch and not task.cancelled())
            if not flight.done.done():
                flight.done.set_result(None)

        self._client._start(run(), f"holdfast {self.grant}").add_done_callback(ended)
        self._flight = flight
        return flight

    def _poll(self, at_once: bool = False) -> None:
        """Ask as for a caller, while no stream does; ``at_once``: whatever the cache holds."""
        if self._flight is None and (at_once or self._cache.look(self._now(), False).ask):
            with contextlib.suppress(ClosedError):
                self._launch(_Flight())

    async def _fly(self, flight: _Flight) -> AccessToken | HoldfastError:
        try:
            if flight.rejected and not await self._report(flight):
                return TokenAccepted("the provider accepts the token")
            return await self._fetch(flight)
        except HoldfastError as e:
            return e
        except Exception as e:  # e.g. of an interceptor: nobody may wait for ever
            wrapped = InternalError(f"asking the broker failed with {type(e).__name__}")
            wrapped.__cause__ = e
            return wrapped

    async def _report(self, flight: _Flight) -> bool:
        """Report the rejected generation; return whether to ask for another token."""
        try:
            heard = await self._client._wire.report(
                self._reporting(flight.rejected, flight.status), self._client._timeout
            )
        except Exception:
            self._cache.unreported(self._now())
            raise
        go_on = self._cache.verdict(flight.rejected, heard.verdict, self._now())
        self._heat()
        return go_on

    async def _fetch(self, flight: _Flight) -> AccessToken:
        end = time.monotonic() + self._client._timeout
        while True:
            sent = self._now()
            try:
                left = max(0.001, end - time.monotonic())
                got = await self._client._wire.get(self._asking(flight.rejected), left)
                return self._learn(sent, got)
            except RefreshInProgress as e:
                delay = progress_delay(e)
                if time.monotonic() + delay >= end:
                    raise
                await self._client._sleep(delay)

    def _tell(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()

    def _shut(self) -> None:
        """Forget the token: the client is closed."""
        self._over = True
        self._hot = None
        self._tell()
