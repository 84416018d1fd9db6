"""The clients for threads, driven by the runner."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
from answers import deadline, dial_arguments, settled, source_arguments, token_answer

from holdfast_client import AccessToken, Client, Source, httpx_auth, requests_auth

Answer = dict[str, Any]


def _threads() -> int:
    # Those that work on requests come and go with the suite's questions.
    return sum("(_work)" not in t.name for t in threading.enumerate())


def _once(body: bytes) -> Iterator[bytes]:
    yield body


class ThreadSide:
    """Clients and sources by the names that the suite gave them."""

    def __init__(self, http: str) -> None:
        self._http = http
        self._clients: dict[str, Client] = {}
        self._sources: dict[str, Source] = {}
        self._threads = -1

    def dial(self, request: Answer) -> Answer:
        if self._threads < 0:
            self._threads = _threads()
        self._clients[request["client"]] = Client(request["target"], **dial_arguments(request))
        return {}

    def source(self, request: Answer) -> Answer:
        client = self._clients[request["client"]]
        self._sources[request["source"]] = client.source(
            request["grant"], **source_arguments(request)
        )
        return {}

    def token(self, request: Answer) -> Answer:
        source, count = self._sources[request["source"]], request.get("count") or 1
        outcomes: list[AccessToken | BaseException] = []
        gate = threading.Barrier(count + 1)

        def one() -> None:
            gate.wait()
            try:
                outcomes.append(source.token(deadline(request)))
            except Exception as e:
                outcomes.append(e)

        threads = [threading.Thread(target=one, name=f"(_work) {i}") for i in range(count)]
        for thread in threads:
            thread.start()
        gate.wait()
        began = time.monotonic()
        for thread in threads:
            thread.join()
        return token_answer(outcomes, began)

    def http(self, request: Answer) -> Answer:
        source = self._sources[request["source"]]
        body: Any = request.get("body", "").encode() or None
        if body is not None and not request.get("repeatable", True):
            body = _once(body)
        origins, limit = request.get("origins") or [], deadline(request)
        if self._http == "requests":
            with requests_auth.Session(source, origins=origins, timeout=limit) as session:
                got = session.request(
                    request["method"], request["url"], data=body, timeout=limit or 60
                )
                return {"status": got.status_code, "body": got.text[:4096]}
        auth = httpx_auth.HoldfastAuth(source, origins=origins, timeout=limit)
        with httpx.Client(auth=auth, follow_redirects=True, timeout=limit or 60) as client:
            answer = client.request(request["method"], request["url"], content=body)
            return {"status": answer.status_code, "body": answer.text[:4096]}

    def close(self, request: Answer) -> Answer:
        self._clients[request["client"]].close()
        return {"leaked": settled(_threads, self._threads)}

    def end(self) -> None:
        for client in self._clients.values():
            client.close()
