"""A stream that keeps a source's cache, for asyncio."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from holdfast_client._errors import BrokerError, ClosedError
from holdfast_client._news import Backoff, WatchEvent, broken, event_of, same

if TYPE_CHECKING:
    from holdfast_client._aio_source import AsyncSource


class AsyncWatcher:
    """Keeps one stream open for a source, and asks by calls while there is none."""

    def __init__(self, source: AsyncSource) -> None:
        """Make one that has not begun."""
        self._source = source

    def start(self) -> None:
        """Begin, as a task of the client; in no trace, since it outlives that of its caller."""
        name = f"holdfast watch {self._source.grant}"
        contextvars.Context().run(self._source._client._start, self._run(), name)

    async def events(self) -> AsyncIterator[WatchEvent]:
        """See AsyncSource.watch."""
        s, told = self._source, None
        while True:
            while s._news is None or same(s._news, told):
                if s._client.closed:
                    return
                s._changed = s._changed or asyncio.Event()
                await s._changed.wait()
            told = s._news
            yield event_of(told)

    async def _run(self) -> None:
        s, backoff = self._source, Backoff()
        while True:
            named, ask = 0.0, False
            try:
                await self._stream(backoff)
            except ClosedError:
                return
            except BrokerError as e:
                named, ask = e.retry_after, s._dropped(e)
                s._tell()
            except Exception as e:  # e.g. of an interceptor: another stream may do better
                broken(s.grant, e)
            finally:
                s._cache.streaming = False
            s._poll(at_once=ask)
            await s._client._sleep(backoff.next(named))

    async def _stream(self, backoff: Backoff) -> None:
        s = self._source
        opened, first = s._now(), True
        request = s._watching()
        s._cache.streaming = True  # until it breaks; one that cannot be opened does at once
        # Closed here rather than by the collector: its call must end with the task.
        async with aclosing(cast(Any, s._client._wire.watch(request))) as messages:
            async for message in messages:
                backoff.reset()
                s._message(message, opened, first)
                s._tell()
                first = False
