"""Drives the SDK for the conformance suite; see clients/conformance/PROTOCOL.md.

Without arguments the clients for threads, with ``--asyncio`` those for asyncio. HTTP goes
through httpx, and with ``--requests`` through requests.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent))

import wallclock
from aio_side import AioSide
from thread_side import ThreadSide

from holdfast_client import (
    BrokerError,
    CallerTimeout,
    ClosedError,
    ConfigError,
    RefusedOrigin,
    Unreachable,
)

Answer = dict[str, Any]


class Side(Protocol):
    """One of the two faces of the SDK: all calls block."""

    def dial(self, request: Answer) -> Answer: ...
    def source(self, request: Answer) -> Answer: ...
    def token(self, request: Answer) -> Answer: ...
    def http(self, request: Answer) -> Answer: ...
    def close(self, request: Answer) -> Answer: ...
    def end(self) -> None: ...


def error_of(error: BaseException) -> Answer:
    """Return an error as the protocol has it."""
    for kind, reason in (
        (CallerTimeout, "DEADLINE_EXCEEDED"),
        (ClosedError, "CLOSED"),
        (RefusedOrigin, "REFUSED_ORIGIN"),
        (ConfigError, "CONFIG"),
    ):
        if isinstance(error, kind):
            return {"reason": reason, "message": str(error)}
    if isinstance(error, BrokerError):
        return {
            "reason": "UNAVAILABLE" if isinstance(error, Unreachable) else error.reason,
            "code": error.code,
            "message": error.message,
            "link": getattr(error, "link", ""),
            "why": getattr(error, "why", ""),
            "sites": getattr(error, "sites", []),
            "missing": getattr(error, "missing", []),
            "field": error.field,
            "retry_after_ms": error.retry_after * 1000,
            "request_id": error.request_id,
        }
    if type(error).__module__.partition(".")[0] in ("httpx", "requests"):
        return {"reason": "IO", "message": f"{type(error).__name__}: {error}"}
    return {"reason": "BUG", "message": f"{type(error).__name__}: {error}"}


class Runner:
    """Reads requests, works on each in a thread, and writes the answers."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._lock = threading.Lock()  # guards standard output
        self._ops: dict[str, Callable[[Answer], Answer]] = {
            "dial": side.dial,
            "source": side.source,
            "token": side.token,
            "http": side.http,
            "close": side.close,
            "clock": self._clock,
        }

    def run(self) -> None:
        """Work until standard input ends."""
        for line in sys.stdin:
            threading.Thread(target=self._work, args=(json.loads(line),), daemon=True).start()
        self._side.end()

    def _work(self, request: Answer) -> None:
        began = time.monotonic()
        op = self._ops.get(request["op"])
        if op is None:
            answer: Answer = {"error": {"reason": "UNSUPPORTED"}}
        else:
            try:
                answer = op(request)
            except Exception as e:
                answer = {"error": error_of(e), "failed": getattr(e, "failed", 1)}
        answer["id"] = request["id"]
        answer.setdefault("elapsed_ms", (time.monotonic() - began) * 1000)
        with self._lock:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    def _clock(self, request: Answer) -> Answer:
        wallclock.skew = request["skew_ms"] / 1000
        return {}


def main() -> None:
    """Run one side."""
    wallclock.install()
    http = "requests" if "--requests" in sys.argv else "httpx"
    side: Side = AioSide() if "--asyncio" in sys.argv else ThreadSide(http)
    with contextlib.suppress(BrokenPipeError):
        Runner(side).run()


if __name__ == "__main__":
    main()
