"""Both faces of the client behind one, so that each test runs with both."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from holdfast_client import AccessToken, AsyncSource, Source, WatchEvent
from holdfast_client.testing import FakeBroker

GRANT = "acme/automation/jira"
PATIENCE = 20.0  # seconds of real time before a test gives up


def until(there: Callable[[], bool]) -> None:
    """Wait for something that happens by itself."""
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


class Threads:
    """The client for threads."""

    def __init__(self, broker: FakeBroker, **source: Any) -> None:
        self.client = broker.client()
        self.source: Source = self.client.source(GRANT, **source)

    def token(self, timeout: float | None = None) -> AccessToken:
        return self.source.token(timeout)

    def rejected(self, token: AccessToken) -> AccessToken | None:
        return self.source.rejected(token)

    def storm(self, count: int) -> list[AccessToken | BaseException]:
        return self.background([lambda: self.source.token()] * count)()

    def background(self, calls: list[Callable[[], Any]]) -> Callable[[], list[Any]]:
        """Start calls; return what waits for all of them."""
        got: list[Any] = [None] * len(calls)

        def one(i: int, call: Callable[[], Any]) -> None:
            try:
                got[i] = call()
            except Exception as e:
                got[i] = e

        threads = [threading.Thread(target=one, args=(i, c)) for i, c in enumerate(calls)]
        for t in threads:
            t.start()

        def join() -> list[Any]:
            for t in threads:
                t.join(PATIENCE)
                assert not t.is_alive(), "a call did not end"
            return got

        return join

    def begin(self, timeout: float | None = None) -> Callable[[], Any]:
        """Start a call for a token; return what waits for its outcome."""
        join = self.background([lambda: self.source.token(timeout)])
        return lambda: join()[0]

    def quiet(self) -> None:
        """Wait until no call is under way."""
        until(lambda: self.source._flight is None)

    def until(self, there: Callable[[], bool]) -> None:
        until(there)

    def events(self) -> Callable[[], WatchEvent]:
        iterator = self.source.watch()
        return lambda: next(iterator)

    def close(self) -> None:
        self.client.close()


class Asyncio:
    """The client for asyncio, on a loop that runs while a call does."""

    def __init__(self, broker: FakeBroker, **source: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = broker.async_client()
        self.source: AsyncSource = self.client.source(GRANT, **source)

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, PATIENCE))

    def token(self, timeout: float | None = None) -> AccessToken:
        got: AccessToken = self.run(self.source.token(timeout))
        return got

    def rejected(self, token: AccessToken) -> AccessToken | None:
        got: AccessToken | None = self.run(self.source.rejected(token))
        return got

    def storm(self, count: int) -> list[AccessToken | BaseException]:
        async def all_of_them() -> list[AccessToken | BaseException]:
            return await asyncio.gather(
                *(self.source.token() for _ in range(count)), return_exceptions=True
            )

        got: list[AccessToken | BaseException] = self.run(all_of_them())
        return got

    def begin(self, timeout: float | None = None) -> Callable[[], Any]:
        task = self.loop.create_task(self.source.token(timeout))
        self.run(asyncio.sleep(0.01))

        def join() -> Any:
            try:
                return self.run(task)
            except Exception as e:
                return e

        return join

    def quiet(self) -> None:
        self.until(lambda: self.source._flight is None)

    def until(self, there: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not there():
            assert time.monotonic() < end, "it did not happen"
            self.run(asyncio.sleep(0.002))

    def events(self) -> Callable[[], WatchEvent]:
        async def first() -> Any:
            return self.source.watch()

        iterator = self.run(first())

        def following() -> WatchEvent:
            event: WatchEvent = self.run(anext(iterator))
            return event

        return following

    def close(self) -> None:
        self.run(self.client.close())
        self.run(self.loop.shutdown_asyncgens())
        self.loop.close()


Face = Threads | Asyncio
