"""Answers of the runner that both sides give."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from holdfast_client import AccessToken


def token_answer(outcomes: list[AccessToken | BaseException], began: float) -> dict[str, Any]:
    """Answer for concurrent calls, or raise the error of the first that failed."""
    failures = [o for o in outcomes if isinstance(o, BaseException)]
    if failures:
        failures[0].failed = len(failures)  # type: ignore[attr-defined]
        raise failures[0]
    tokens = [o for o in outcomes if isinstance(o, AccessToken)]
    newest = max(tokens, key=lambda t: t.generation)
    return {
        "token": {
            "access_token": newest.reveal(),
            "generation": newest.generation,
            "api_base_url": newest.api_base_url,
        },
        "distinct": len({t.reveal() for t in tokens}),
        "elapsed_ms": (time.monotonic() - began) * 1000,
    }


def dial_arguments(request: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a client."""
    names = ("cert", "key", "ca", "token_file", "plaintext")
    arguments = {n: request[n] for n in names if request.get(n)}
    if request.get("timeout_ms"):
        arguments["timeout"] = request["timeout_ms"] / 1000
    return arguments


def source_arguments(request: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a source."""
    names = ("site", "scopes", "purpose", "watch")
    arguments = {n: request[n] for n in names if request.get(n)}
    if request.get("min_ttl_ms"):
        arguments["min_ttl"] = request["min_ttl_ms"] / 1000
    return arguments


def deadline(request: dict[str, Any]) -> float | None:
    """Return the caller's deadline in seconds."""
    ms = request.get("deadline_ms")
    return ms / 1000 if ms else None


def settled(count: Callable[[], int], before: int) -> int:
    """Return how many there are more than before, after up to 3 s."""
    end = time.monotonic() + 3
    while (more := max(0, count() - before)) and time.monotonic() < end:
        time.sleep(0.05)
    return more
