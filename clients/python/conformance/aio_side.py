"""The clients for asyncio, driven by the runner: one event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import httpx
from answers import deadline, dial_arguments, settled, source_arguments, token_answer

from holdfast_client import AccessToken, AsyncClient, AsyncSource, httpx_auth

Answer = dict[str, Any]
T = TypeVar("T")


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


class AioSide:
    """Clients and sources by the names that the suite gave them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._clients: dict[str, AsyncClient] = {}
        self._sources: dict[str, AsyncSource] = {}

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _tasks(self) -> int:
        # Those of the suite's questions have other names. The thread on which grpc.aio
        # polls is one for the whole process, by design, and is not counted.
        return sum(t.get_name().startswith("holdfast") for t in asyncio.all_tasks(self._loop))

    def dial(self, request: Answer) -> Answer:
        client = AsyncClient(request["target"], **dial_arguments(request))
        self._clients[request["client"]] = client
        return {}

    def source(self, request: Answer) -> Answer:
        client = self._clients[request["client"]]
        self._sources[request["source"]] = client.source(
            request["grant"], **source_arguments(request)
        )
        return {}

    def token(self, request: Answer) -> Answer:
        return self._run(self._token(request))

    async def _token(self, request: Answer) -> Answer:
        source, count = self._sources[request["source"]], request.get("count") or 1
        began = time.monotonic()
        outcomes: list[AccessToken | BaseException] = await asyncio.gather(
            *(source.token(deadline(request)) for _ in range(count)), return_exceptions=True
        )
        return token_answer(outcomes, began)

    def http(self, request: Answer) -> Answer:
        return self._run(self._request(request))

    async def _request(self, request: Answer) -> Answer:
        body: Any = request.get("body", "").encode() or None
        if body is not None and not request.get("repeatable", True):
            body = _once(body)
        limit = deadline(request)
        auth = httpx_auth.HoldfastAuth(
            self._sources[request["source"]], origins=request.get("origins") or [], timeout=limit
        )
        async with httpx.AsyncClient(
            auth=auth, follow_redirects=True, timeout=limit or 60
        ) as client:
            answer = await client.request(request["method"], request["url"], content=body)
            return {"status": answer.status_code, "body": answer.text[:4096]}

    def close(self, request: Answer) -> Answer:
        self._run(self._clients[request["client"]].close())
        return {"leaked": settled(self._tasks, 0)}

    def end(self) -> None:
        for client in self._clients.values():
            self._run(client.close())
