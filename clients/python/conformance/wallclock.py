"""A wall clock that the suite can set, for the SDK in this process."""

from __future__ import annotations

import time

from holdfast_client import _clock

skew = 0.0


def wall() -> float:
    """Return the time as the SDK sees it."""
    return time.time() + skew


def install() -> None:
    """Have the SDK look at this clock."""
    _clock.SystemClock.wall = staticmethod(wall)
