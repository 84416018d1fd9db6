"""What a cached call costs, in look-ups of a dict under a ``threading.Lock``.

Both are measured in short turns in the same run, and the ratio of the two least times is
printed: the least is what the code costs, all above it is what else the machine did. Fails
above the bound.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable

from holdfast_client.testing import FakeBroker

BOUND = 5.0
CALLS, ROUNDS = 500, 1_000
GRANT = "acme/automation/jira"


def look_ups(n: int) -> float:
    """Return the time of n look-ups under a lock, without so much as a function around them."""
    lock, tokens = threading.Lock(), {GRANT: "token"}
    began = time.perf_counter()
    for _ in range(n):
        with lock:
            tokens[GRANT]
    return time.perf_counter() - began


def threads(broker: FakeBroker) -> Callable[[int], float]:
    """Return what measures the client for threads."""
    source = broker.client().source(GRANT)
    source._mono, source._wall = time.monotonic, time.time  # the real clocks are part of it
    token = source.token()
    now = time.monotonic(), time.time()
    token._fresh_mono, token._fresh_wall = now[0] + 600, now[1] + 600

    def calls(n: int) -> float:
        began = time.perf_counter()
        for _ in range(n):
            source.token()
        return time.perf_counter() - began

    return calls


def tasks(broker: FakeBroker) -> Callable[[int], float]:
    """Return what measures the client for asyncio."""
    loop = asyncio.new_event_loop()
    source = broker.async_client().source(GRANT)

    async def prepare() -> None:
        token = await source.token()
        source._mono, source._wall = time.monotonic, time.time
        now = time.monotonic(), time.time()
        token._fresh_mono, token._fresh_wall = now[0] + 600, now[1] + 600

    async def calls(n: int) -> float:
        began = time.perf_counter()
        for _ in range(n):
            await source.token()
        return time.perf_counter() - began

    loop.run_until_complete(prepare())
    return lambda n: loop.run_until_complete(calls(n))


def main() -> None:
    """Measure, print and judge."""
    with FakeBroker() as broker:
        rows = {"dict under a lock": look_ups, "threads": threads(broker), "asyncio": tasks(broker)}
        least = dict.fromkeys(rows, float("inf"))
        for _ in range(ROUNDS):
            for name, measure in rows.items():
                least[name] = min(least[name], measure(CALLS))
        calls_made = broker.calls["GetAccessToken"]
    if calls_made != 2:
        sys.exit(f"the calls were not cached: the broker was asked {calls_made} times")
    base = least["dict under a lock"]
    worst = 0.0
    for name, seconds in least.items():
        print(f"{name:18} {seconds / CALLS * 1e9:6.0f} ns  {seconds / base:4.1f} x")
        worst = max(worst, seconds / base)
    if worst > BOUND:
        sys.exit(f"a cached call costs {worst:.1f} look-ups, want at most {BOUND}")


if __name__ == "__main__":
    main()
