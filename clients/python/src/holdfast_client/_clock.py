"""Time as the cache sees it; tests bring their own."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, NamedTuple, Protocol

from holdfast_client._errors import ConfigError

# A year, in seconds. gRPC and the system's waits take no times without an end: to the one
# they are over at once, to the other they are an error.
LONGEST = 365 * 86400.0


class Moment(NamedTuple):
    """One moment on both clocks, in seconds."""

    mono: float
    wall: float


class Clock(Protocol):
    """What tells the time and waits for it to pass."""

    def monotonic(self) -> float:
        """Seconds on a clock that nobody sets."""
        ...

    def wall(self) -> float:
        """Seconds since 1970 on the clock that somebody may set."""
        ...

    def wait(self, event: threading.Event, timeout: float | None) -> bool:
        """Wait for the event, at most ``timeout`` seconds; return whether it is set."""
        ...

    async def wait_for(self, future: asyncio.Future[Any], timeout: float | None) -> bool:
        """Wait for the future to be done, and do not cancel it; return whether it is."""
        ...


class SystemClock:
    """The clocks of this machine."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    def wait(self, event: threading.Event, timeout: float | None) -> bool:
        """See Clock."""
        return event.wait(timeout)

    async def wait_for(self, future: asyncio.Future[Any], timeout: float | None) -> bool:
        """See Clock."""
        await asyncio.wait({future}, timeout=timeout)
        return future.done()


def now(clock: Clock) -> Moment:
    """Return the present moment."""
    return Moment(clock.monotonic(), clock.wall())


def bound(timeout: float) -> float:
    """Return the bound of each call of a client; raise ConfigError for none that it can have."""
    if not 0 < timeout <= LONGEST:
        raise ConfigError(
            f"timeout {timeout}: want seconds, more than 0 and at most {LONGEST:.0f}, a year"
        )
    return timeout


def until(timeout: float | None) -> float | None:
    """Return when a caller has waited that long; None: never, as of a time without an end."""
    return None if timeout is None or timeout > LONGEST else time.monotonic() + timeout
