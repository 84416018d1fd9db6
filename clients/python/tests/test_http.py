"""The integrations with httpx and requests, against an API on loopback."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from api_server import ApiServer, Seen, reject_first
from faces import GRANT
from requests.adapters import BaseAdapter

from holdfast_client import ConfigError, ConsentRequired, RefusedOrigin, httpx_auth, requests_auth
from holdfast_client._origin import Origins, origin, parse, under
from holdfast_client.testing import FakeBroker

# Sends a request through an integration: method, URL, body and whether it can be sent
# again, origins; returns status and text.
Send = Callable[..., tuple[int, str]]


@pytest.fixture
def api() -> Iterator[ApiServer]:
    server = ApiServer()
    yield server
    server.stop()


@pytest.fixture
def elsewhere() -> Iterator[ApiServer]:
    server = ApiServer()
    yield server
    server.stop()


@pytest.fixture
def broker(api: ApiServer) -> Iterator[FakeBroker]:
    with FakeBroker(api_base_url=api.url + "/ex/jira/cloud-1") as broker:
        yield broker


def _once(body: bytes) -> Iterator[bytes]:
    yield body


async def _aonce(body: bytes) -> AsyncIterator[bytes]:
    yield body


def by_httpx(broker: FakeBroker) -> Send:
    source = broker.client().source(GRANT)

    def send(
        method: str, url: str, body: bytes | None = None, again: bool = True, origins: Any = ()
    ) -> tuple[int, str]:
        auth = httpx_auth.HoldfastAuth(source, origins=origins)
        content: Any = body if again or body is None else _once(body)
        with httpx.Client(auth=auth, follow_redirects=True) as client:
            got = client.request(method, url, content=content)
            return got.status_code, got.text

    return send


def by_httpx_async(broker: FakeBroker) -> Send:
    loop = asyncio.new_event_loop()
    client = broker.async_client()
    source = client.source(GRANT)

    def send(
        method: str, url: str, body: bytes | None = None, again: bool = True, origins: Any = ()
    ) -> tuple[int, str]:
        async def go() -> tuple[int, str]:
            auth = httpx_auth.HoldfastAuth(source, origins=origins)
            content: Any = body if again or body is None else _aonce(body)
            async with httpx.AsyncClient(auth=auth, follow_redirects=True) as http:
                got = await http.request(method, url, content=content)
                return got.status_code, got.text

        return loop.run_until_complete(go())

    def close() -> None:
        loop.run_until_complete(client.close())
        loop.close()

    send.close = close  # type: ignore[attr-defined]
    return send


def by_requests(broker: FakeBroker) -> Send:
    source = broker.client().source(GRANT)

    def send(
        method: str, url: str, body: bytes | None = None, again: bool = True, origins: Any = ()
    ) -> tuple[int, str]:
        data: Any = body if again or body is None else _once(body)
        with requests_auth.Session(source, origins=origins) as session:
            got = session.request(method, url, data=data)
            return got.status_code, got.text

    return send


@pytest.fixture(params=[by_httpx, by_httpx_async, by_requests])
def send(request: Any, broker: FakeBroker) -> Iterator[Send]:
    made = request.param(broker)
    yield made
    getattr(made, "close", lambda: None)()


def test_a_path_is_resolved_under_the_api_base(api: ApiServer, send: Send) -> None:
    assert send("GET", "/rest/api/3/myself?expand=groups") == (200, "ok")
    assert api.seen[0][:3] == (
        "GET",
        "/ex/jira/cloud-1/rest/api/3/myself?expand=groups",
        "fake-token-1",
    )


def test_a_whole_url_is_sent_as_it_is(api: ApiServer, send: Send) -> None:
    send("GET", api.url + "/elsewhere")
    assert api.seen[0].path == "/elsewhere"


LEAVING = [
    "/rest/../../other",
    "/rest/%2e%2e/x",
    "/..%5Cx/%2E%2e",
    "/a/..%2f..%2Fb",
    "/..%5C..%5Cb",
]


@pytest.mark.parametrize("url", LEAVING)
def test_a_path_that_leaves_the_api_is_refused(api: ApiServer, send: Send, url: str) -> None:
    with pytest.raises((RefusedOrigin, httpx.HTTPError, requests.RequestException)):
        send("GET", url)
    assert not api.seen


def test_a_401_is_reported_once_and_sent_again_once(
    api: ApiServer, broker: FakeBroker, send: Send
) -> None:
    api.answer = reject_first
    assert send("POST", "/issue", b"summary") == (200, "ok")
    assert [(s.token, s.body) for s in api.seen] == [
        ("fake-token-1", b"summary"),
        ("fake-token-2", b"summary"),
    ]
    assert broker.calls["ReportRejectedToken"] == 1


def test_a_second_401_is_the_answer(api: ApiServer, broker: FakeBroker, send: Send) -> None:
    api.answer = lambda seen: (401, "")
    assert send("GET", "/issue") == (401, "ok")
    assert len(api.seen) == 2
    assert broker.calls["ReportRejectedToken"] == 1


def test_a_body_that_is_read_once_is_not_sent_again(
    api: ApiServer, broker: FakeBroker, send: Send
) -> None:
    api.answer = reject_first
    assert send("POST", "/issue", b"summary", again=False) == (401, "ok")
    assert send("POST", "/issue", b"summary", again=False) == (200, "ok")
    assert [(s.token, s.body) for s in api.seen] == [
        ("fake-token-1", b"summary"),
        ("fake-token-2", b"summary"),
    ]
    assert broker.calls["ReportRejectedToken"] == 1


def test_a_401_with_another_cause_is_handed_back(
    api: ApiServer, broker: FakeBroker, send: Send
) -> None:
    api.answer = lambda seen: (401, "")
    broker.accept_reported = True
    assert send("GET", "/issue") == (401, "ok")
    assert send("GET", "/issue") == (401, "ok")
    assert len(api.seen) == 2
    assert broker.calls["ReportRejectedToken"] == 1


def test_a_newer_token_that_is_for_another_site_does_not_go_to_the_old_one(
    api: ApiServer, broker: FakeBroker, send: Send
) -> None:
    def answer(seen: Seen) -> tuple[int, str]:
        broker.api_base_url = "http://api.elsewhere.example/ex/jira/cloud-2"
        return 401, ""

    api.answer = answer
    assert send("GET", "/x") == (401, "ok")
    assert [s.token for s in api.seen] == ["fake-token-1"]
    assert broker.calls["ReportRejectedToken"] == 1


def test_another_origin_gets_no_token(api: ApiServer, elsewhere: ApiServer, send: Send) -> None:
    with pytest.raises(RefusedOrigin, match="allowed are"):
        send("GET", elsewhere.url + "/x")
    assert not elsewhere.seen
    assert send("GET", elsewhere.url + "/x", origins=[elsewhere.url]) == (200, "ok")
    assert elsewhere.seen[0].token == "fake-token-1"


def test_a_redirect_elsewhere_gets_no_token(
    api: ApiServer, elsewhere: ApiServer, broker: FakeBroker, send: Send
) -> None:
    # Another host, since that is by what the HTTP clients tell; a 401 of it says nothing.
    there = elsewhere.url.replace("127.0.0.1", "localhost")
    api.answer = lambda seen: (302, there + "/download")
    elsewhere.answer = lambda seen: (401, "")
    assert send("GET", "/attachment") == (401, "ok")
    assert [s.token for s in elsewhere.seen] == [""]
    assert broker.calls["ReportRejectedToken"] == 0


def test_a_redirect_to_another_port_gets_no_token(
    api: ApiServer, elsewhere: ApiServer, send: Send
) -> None:
    api.answer = lambda seen: (302, elsewhere.url + "/download")
    assert send("GET", "/attachment") == (200, "ok")
    assert [s.token for s in elsewhere.seen] == [""]


def test_a_redirect_to_an_origin_that_may_see_the_token_goes_without_it(
    api: ApiServer, elsewhere: ApiServer, broker: FakeBroker, send: Send
) -> None:
    api.answer = lambda seen: (307, elsewhere.url + "/b")
    elsewhere.answer = lambda seen: (401, "")
    assert send("PUT", "/a", b"summary", origins=[api.url, elsewhere.url]) == (401, "ok")
    assert [s.token for s in api.seen] == ["fake-token-1"]
    assert elsewhere.seen == [Seen("PUT", "/b", "", b"summary")]
    assert broker.calls["ReportRejectedToken"] == 0


@pytest.mark.parametrize("both", [True, False], ids=["both allowed", "one allowed"])
def test_a_redirect_there_and_back_stays_without_the_token(
    api: ApiServer, elsewhere: ApiServer, broker: FakeBroker, send: Send, both: bool
) -> None:
    there = {"/b": "/c", "/c": api.url + "/d"}
    back = {"/ex/jira/cloud-1/a": elsewhere.url + "/b", "/d": "/e"}
    elsewhere.answer = lambda seen: (302, there[seen.path])
    api.answer = lambda seen: (302, back[seen.path]) if seen.path in back else (401, "")
    origins = [api.url, elsewhere.url] if both else []
    assert send("GET", "/a", origins=origins) == (401, "ok")
    assert [s[1:3] for s in api.seen] == [
        ("/ex/jira/cloud-1/a", "fake-token-1"),
        ("/d", ""),
        ("/e", ""),
    ]
    assert [s[1:3] for s in elsewhere.seen] == [("/b", ""), ("/c", "")]
    assert broker.calls["ReportRejectedToken"] == 0


def test_what_a_redirect_leads_to_is_repeated_and_not_what_led_there(
    api: ApiServer, send: Send
) -> None:
    api.answer = lambda seen: (303, "/b") if seen.method == "POST" else reject_first(seen)
    assert send("POST", "/a", b"summary") == (200, "ok")
    assert [s[:3] for s in api.seen] == [
        ("POST", "/ex/jira/cloud-1/a", "fake-token-1"),
        ("GET", "/b", "fake-token-1"),
        ("GET", "/b", "fake-token-2"),
    ]


class Hosts(BaseAdapter):
    """Answers for hosts that there are not: http redirects to https."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, Any]] = []

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        self.seen.append((request.url, request.headers.get("Authorization")))
        response = requests.Response()
        response.url, response.request, response.raw = request.url, request, io.BytesIO()
        response.status_code = 302 if request.url.startswith("http:") else 200
        response.headers["Location"] = "https://api.example/x"
        return response

    def close(self) -> None:
        pass


@pytest.mark.parametrize("origins", [[], ["http://api.example", "https://api.example"]])
@pytest.mark.parametrize("whole", [True, False], ids=["Session", "auth"])
def test_requests_takes_no_token_to_https_of_the_same_host(whole: bool, origins: list[str]) -> None:
    with FakeBroker(api_base_url="http://api.example") as broker:
        source, hosts = broker.client().source(GRANT), Hosts()
        session = requests_auth.Session(source) if whole else requests.Session()
        session.auth = requests_auth.HoldfastAuth(source, origins=origins)
        session.mount("http://", hosts)
        session.mount("https://", hosts)
        with session:
            assert session.get("http://api.example/x").status_code == 200
    assert hosts.seen == [
        ("http://api.example/x", "Bearer fake-token-1"),
        ("https://api.example/x", None),
    ]


def test_a_session_keeps_the_token_where_netrc_knows_the_host(
    api: ApiServer, broker: FakeBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    api.answer = lambda seen: (302, "/b") if seen.path.endswith("/a") else (200, "")
    with requests_auth.Session(broker.client().source(GRANT)) as session:
        assert session.get("/a").status_code == 200
    assert [s.token for s in api.seen] == ["fake-token-1"] * 2


def test_a_redirect_within_the_api_keeps_it_and_its_401_is_cured(
    api: ApiServer, broker: FakeBroker, send: Send
) -> None:
    api.answer = lambda seen: (302, "/b") if seen.path.endswith("/a") else reject_first(seen)
    assert send("GET", "/a") == (200, "ok")
    assert api.seen[-1][1:3] == ("/b", "fake-token-2") or api.seen[-1].token == "fake-token-2"
    assert broker.calls["ReportRejectedToken"] == 1


def test_why_there_is_no_token_reaches_the_caller(
    api: ApiServer, broker: FakeBroker, send: Send
) -> None:
    broker.refuse(GRANT, ConsentRequired("again", metadata={"link": "https://x.example"}))
    with pytest.raises(ConsentRequired) as e:
        send("GET", "/x")
    assert e.value.link == "https://x.example"


def test_requests_reads_a_file_again_from_where_it_stood(
    api: ApiServer, broker: FakeBroker
) -> None:
    api.answer = reject_first
    source = broker.client().source(GRANT)
    file = io.BytesIO(b"headbody")
    file.seek(4)
    with requests.Session() as session:
        session.auth = requests_auth.HoldfastAuth(source)
        got = session.post(source.api_base_url() + "/x", data=file)
    assert got.status_code == 200
    assert [s.body for s in api.seen] == [b"body", b"body"]


def test_httpx_does_not_mix_threads_and_tasks(broker: FakeBroker) -> None:
    auth = httpx_auth.HoldfastAuth(broker.async_client().source(GRANT))
    with httpx.Client(auth=auth) as client, pytest.raises(TypeError, match="AsyncSource"):
        client.get("/x")


def test_nothing_shows_a_token(broker: FakeBroker) -> None:
    source = broker.client().source(GRANT)
    source.token()
    assert repr(httpx_auth.HoldfastAuth(source)) == f"HoldfastAuth(<Source of {GRANT}>)"
    assert repr(requests_auth.HoldfastAuth(source)) == f"HoldfastAuth(<Source of {GRANT}>)"


ORIGINS = [
    ("https://API.example", "https://api.example:443/x", True),
    ("https://api.example", "http://api.example", False),
    ("https://api.example", "https://api.example:444", False),
    ("https://api.example", "https://api.example.evil.example", False),
    ("https://api.example", "https://user@api.example/y", True),
    ("http://[::1]:80", "http://[::1]/x", True),
]


@pytest.mark.parametrize(("named", "url", "allowed"), ORIGINS)
def test_origins_are_scheme_host_and_port(named: str, url: str, allowed: bool) -> None:
    assert Origins([named]).allow(parse(url), "") is allowed


def test_an_origin_that_is_none_is_a_mistake() -> None:
    for bad in ("api.example", "https://", "https://x:port"):
        with pytest.raises(ConfigError):
            Origins([bad])
    with pytest.raises(ConfigError, match="list"):
        Origins("https://api.example")
    with pytest.raises(ConfigError, match="no site"):
        under("", "/x")
    assert str(origin("HTTPS", "X", None)) == "https://x:443"
