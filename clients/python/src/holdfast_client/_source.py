"""A source of one grant's tokens, for threads."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from holdfast_client._cache import Next
from holdfast_client._clock import Clock, until
from holdfast_client._errors import (
    BrokerError,
    CallerTimeout,
    ClosedError,
    ConfigError,
    HoldfastError,
    InternalError,
    RefreshInProgress,
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
from holdfast_client._watch import Watcher
from holdfast_client.v1 import token_service_pb2 as pb

if TYPE_CHECKING:
    from holdfast_client._client import Client


class _Flight:
    """One call to the broker that any number of callers wait for."""

    def __init__(self, rejected: int = 0, status: int = 0) -> None:
        # Generation to report first, and the status that it met; 0: none.
        self.rejected, self.status = rejected, status
        self.done = threading.Event()
        # Set before done, and never changed after it.
        self.outcome: AccessToken | HoldfastError = InternalError("the call did not end")


class Source(SourceCore):
    """Hands out access tokens of one grant from a cache that it keeps fresh.

    Safe for use by many threads. Make one per grant, and per site if several are used, by
    ``Client.source``, and keep it.
    """

    _flight: _Flight | None

    def __init__(
        self, client: Client, request: pb.GetAccessTokenRequest, clock: Clock, watch: bool
    ) -> None:
        """For ``Client.source``."""
        super().__init__(request, clock)
        self._client = client
        self._wants_watch = watch
        self._watcher: Watcher | None = None
        self._renew_locks()

    def token(self, timeout: float | None = None) -> AccessToken:
        """Return a token that is valid now.

        Blocks only if there is none in the cache: as long as the client's timeout, or
        ``timeout`` seconds if that is less, and then raises CallerTimeout. Raises
        BrokerError if the broker gives none, and ClosedError.
        """
        hot = self._hot
        if hot is not None and self._mono() < hot._fresh_mono and self._wall() < hot._fresh_wall:
            return hot
        return self._token(timeout)

    def api_base_url(self, timeout: float | None = None) -> str:
        """Return the base URL of the product's API for the site, without a trailing slash.

        Blocks and raises as ``token`` does, and ConfigError if the grant has no site or
        several and the source names none.
        """
        base = self.token(timeout).api_base_url
        if not base:
            raise ConfigError(
                "the grant has no site or several, so there is no API base URL; choose one by site="
            )
        return base

    def rejected(
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
            with self._lock:
                todo = self._cache.rejected(token.generation, self._now(), self._flight is not None)
                if todo is Next.USE_CURRENT:
                    return self._cache.current
                if todo is Next.GIVE_UP:
                    return None
                flight = self._flight
                if flight is None:
                    try:
                        flight = self._launch(_Flight(token.generation, status))
                    except BrokerError:  # no thread for it
                        self._cache.unreported(self._now())
                        return None
            left = None if end is None else max(0.0, end - time.monotonic())
            if not self._clock.wait(flight.done, left):
                return None
            got = flight.outcome
            if isinstance(got, AccessToken) and got.generation > token.generation:
                return got
            if flight.rejected == token.generation or isinstance(got, ClosedError):
                return None

    def watch(self) -> Iterator[WatchEvent]:
        """Yield the present state, and each newer one as it comes, until the client closes.

        The first use makes the source watch, as ``watch=True`` of ``Client.source`` does.
        A consumer that falls behind finds the newest state alone.
        """
        self._client._check()
        with self._lock:
            self._begin_watching(True)
        assert self._watcher is not None
        return self._watcher.events()

    def _begin_watching(self, wanted: bool) -> None:
        """Open a stream, unless there is one; the caller holds the lock."""
        if wanted and self._watcher is None:
            watcher = Watcher(self)
            watcher.start()
            self._watcher = watcher

    def _token(self, timeout: float | None) -> AccessToken:
        end = until(timeout)
        while True:
            self._client._check()
            with self._lock:
                look = self._cache.look(self._now(), self._flight is not None)
                if look.error is not None:
                    raise again(look.error)
                if look.ask:
                    try:
                        self._launch(_Flight())
                    except BrokerError:  # no thread for it
                        if look.token is None:
                            raise
                        return look.token
                old, flight = look.token, self._flight
            if old is not None and (flight is None or not look.wait):
                return old
            assert flight is not None
            left = None if end is None else max(0.0, end - time.monotonic())
            if not self._clock.wait(flight.done, patience(left, old)):
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
        """Start a call; the caller holds the lock."""
        context = contextvars.copy_context()  # the trace of whoever needs it
        losses = self._cache.losses

        def run() -> None:
            got = context.run(self._fly, flight)
            with self._lock:
                self._flight = None
                self._settle(got, losses)
                self._changed.notify_all()
                # Not before the first answer, so that the stream need not bring it as well.
                with contextlib.suppress(HoldfastError):
                    self._begin_watching(self._wants_watch)
            flight.outcome = got
            flight.done.set()

        self._client._start(run, f"holdfast {self.grant}")
        self._flight = flight
        return flight

    def _poll(self, at_once: bool = False) -> None:
        """Ask as for a caller, while no stream does; ``at_once``: whatever the cache holds."""
        with self._lock:
            if self._flight is None and (at_once or self._cache.look(self._now(), False).ask):
                with contextlib.suppress(HoldfastError):
                    self._launch(_Flight())

    def _fly(self, flight: _Flight) -> AccessToken | HoldfastError:
        try:
            if flight.rejected and not self._report(flight):
                return TokenAccepted("the provider accepts the token")
            return self._fetch(flight)
        except HoldfastError as e:
            return e
        except BaseException as e:  # e.g. of an interceptor: nobody may wait for ever
            wrapped = InternalError(f"asking the broker failed with {type(e).__name__}")
            wrapped.__cause__ = e
            return wrapped

    def _report(self, flight: _Flight) -> bool:
        """Report the rejected generation; return whether to ask for another token."""
        try:
            heard = self._client._wire.report(
                self._reporting(flight.rejected, flight.status), self._client._timeout
            )
        except Exception:
            with self._lock:
                self._cache.unreported(self._now())
            raise
        with self._lock:
            go_on = self._cache.verdict(flight.rejected, heard.verdict, self._now())
            self._heat()
            return go_on

    def _fetch(self, flight: _Flight) -> AccessToken:
        end = time.monotonic() + self._client._timeout
        while True:
            with self._lock:
                request = self._asking(flight.rejected)
            sent = self._now()
            try:
                got = self._client._wire.get(request, max(0.001, end - time.monotonic()))
                with self._lock:
                    return self._learn(sent, got)
            except RefreshInProgress as e:
                delay = progress_delay(e)
                if time.monotonic() + delay >= end or self._clock.wait(
                    self._client._closing, delay
                ):
                    raise

    def _shut(self, forked: bool = False) -> None:
        """Forget the token: the client is closed, or this is the child of a fork."""
        if forked:
            self._renew_locks()
        with self._lock:
            self._over = not forked
            self._hot = None
            self._changed.notify_all()

    def _renew_locks(self) -> None:
        self._lock = threading.Lock()  # guards the cache and all below
        self._changed = threading.Condition(self._lock)  # the state is another
        self._flight = None
