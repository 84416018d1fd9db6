"""A stream that keeps a source's cache, for threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

from holdfast_client._errors import BrokerError, ClosedError
from holdfast_client._news import Backoff, WatchEvent, broken, event_of, same

if TYPE_CHECKING:
    from holdfast_client._source import Source


class Watcher:
    """Keeps one stream open for a source, and asks by calls while there is none."""

    def __init__(self, source: Source) -> None:
        """Make one that has not begun."""
        self._source = source

    def start(self) -> None:
        """Begin, on a thread of the client."""
        self._source._client._start(self._run, f"holdfast watch {self._source.grant}")

    def events(self) -> Iterator[WatchEvent]:
        """See Source.watch."""
        s, told = self._source, None
        while True:
            if s._client._forked:
                s._client._check()  # says so: nothing would ever come
            with s._lock:
                while s._news is None or same(s._news, told):
                    if s._client._closing.is_set():
                        return
                    s._changed.wait()
                told = s._news
            yield event_of(told)

    def _run(self) -> None:
        s, backoff = self._source, Backoff()
        while not s._client._closing.is_set():
            named, ask = 0.0, False
            try:
                self._stream(backoff)
            except ClosedError:
                return
            except BrokerError as e:
                named = e.retry_after
                with s._lock:
                    ask = s._dropped(e)
                    s._changed.notify_all()
            except Exception as e:  # e.g. of an interceptor: another stream may do better
                broken(s.grant, e)
            finally:
                with s._lock:
                    s._cache.streaming = False
            s._poll(at_once=ask)
            if s._clock.wait(s._client._closing, backoff.next(named)):
                return

    def _stream(self, backoff: Backoff) -> None:
        s = self._source
        opened, first = s._now(), True
        with s._lock:
            request = s._watching()
            s._cache.streaming = True  # until it breaks; one that cannot be opened does at once
        # Closed here rather than by the collector: its call must end with it.
        with closing(cast(Any, s._client._wire.watch(request))) as messages:
            for message in messages:
                backoff.reset()
                with s._lock:
                    s._message(message, opened, first)
                    s._changed.notify_all()
                first = False
