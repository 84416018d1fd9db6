"""What goes over gRPC: statuses, identities, metadata, forks."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from faces import GRANT, until
from grpc_broker import GrpcBroker, refuse, token

from holdfast_client import (
    AccessToken,
    AsyncClient,
    BrokerError,
    Client,
    ClosedError,
    ConfigError,
    ConsentRequired,
    HoldfastError,
    InvalidRequest,
    ProviderUnavailable,
    ScopeNotGranted,
    SiteAmbiguous,
    SiteNotGranted,
    Unreachable,
    WatchEvent,
)


@pytest.fixture
def broker() -> Iterator[GrpcBroker]:
    broker = GrpcBroker()
    yield broker
    broker.stop()


Get = Callable[..., AccessToken]


def get_sync(target: str, **arguments: Any) -> AccessToken:
    with Client(target, **arguments) as client:
        return client.source(GRANT).token()


def get_async(target: str, **arguments: Any) -> AccessToken:
    async def get() -> AccessToken:
        async with AsyncClient(target, **arguments) as client:
            return await client.source(GRANT).token()

    return asyncio.run(get())


both = pytest.mark.parametrize("get", [get_sync, get_async], ids=["threads", "asyncio"])

ROWS: list[tuple[dict[str, Any], type[HoldfastError], dict[str, Any]]] = [
    (
        {
            "code": grpc.StatusCode.FAILED_PRECONDITION,
            "reason": "CONSENT_REQUIRED",
            "link": "https://connect.example/x",
            "why": "REFUSED",
            "request_id": "r-1",
        },
        ConsentRequired,
        {
            "link": "https://connect.example/x",
            "why": "REFUSED",
            "request_id": "r-1",
            "temporary": False,
            "code": "FAILED_PRECONDITION",
        },
    ),
    (
        {
            "code": grpc.StatusCode.FAILED_PRECONDITION,
            "reason": "SITE_NOT_GRANTED",
            "sites": "c1 https://one.example, c2 https://two.example",
            "link": "https://connect.example/y",
        },
        SiteNotGranted,
        {
            "sites": ["c1 https://one.example", "c2 https://two.example"],
            "link": "https://connect.example/y",
        },
    ),
    (
        {"code": grpc.StatusCode.FAILED_PRECONDITION, "reason": "SITE_AMBIGUOUS", "sites": "none"},
        SiteAmbiguous,
        {"sites": []},
    ),
    (
        {
            "code": grpc.StatusCode.FAILED_PRECONDITION,
            "reason": "SCOPE_NOT_GRANTED",
            "missing": "read:jira-work write:jira-work",
        },
        ScopeNotGranted,
        {"missing": ["read:jira-work", "write:jira-work"], "link": ""},
    ),
    (
        {"code": grpc.StatusCode.INVALID_ARGUMENT, "reason": "INVALID_REQUEST", "field": "site"},
        InvalidRequest,
        {"field": "site"},
    ),
    (
        {"code": grpc.StatusCode.UNAVAILABLE, "reason": "PROVIDER_UNAVAILABLE", "retry": 0.5},
        ProviderUnavailable,
        {"retry_after": 0.5, "temporary": True},
    ),
    (
        {"code": grpc.StatusCode.RESOURCE_EXHAUSTED, "reason": "NEWER_THAN_THIS"},
        BrokerError,
        {"reason": "NEWER_THAN_THIS", "temporary": True},
    ),
    (
        {"code": grpc.StatusCode.FAILED_PRECONDITION, "reason": "NEWER_THAN_THIS"},
        BrokerError,
        {"reason": "NEWER_THAN_THIS", "temporary": False},
    ),
]


@both
@pytest.mark.parametrize(("said", "kind", "want"), ROWS, ids=lambda v: str(v)[:40])
def test_a_refusal_is_an_exception_of_its_reason(
    broker: GrpcBroker, get: Get, said: dict[str, Any], kind: type, want: dict[str, Any]
) -> None:
    broker.handler = lambda request, context: refuse(context, **said)
    with pytest.raises(kind) as e:
        get(broker.target, plaintext=True)
    assert type(e.value) is kind
    assert {name: getattr(e.value, name) for name in want} == want


@both
def test_what_is_no_broker_is_unreachable_and_no_verdict(broker: GrpcBroker, get: Get) -> None:
    broker.handler = lambda request, context: context.abort(grpc.StatusCode.NOT_FOUND, "a page")
    with pytest.raises(Unreachable) as e:
        get(broker.target, plaintext=True)
    assert e.value.temporary


@both
def test_a_call_is_bounded_by_the_client(broker: GrpcBroker, get: Get) -> None:
    broker.handler = lambda request, context: broker.gone.wait(20)
    began = time.monotonic()
    with pytest.raises(Unreachable):
        get(broker.target, plaintext=True, timeout=0.5)
    assert time.monotonic() - began < 5


@both
def test_an_incomplete_answer_is_no_token(broker: GrpcBroker, get: Get) -> None:
    broker.handler = lambda request, context: type(token(1))(access_token="x")
    with pytest.raises(BrokerError, match="lacks the token") as e:
        get(broker.target, plaintext=True)
    assert e.value.reason == "INTERNAL"


def test_closing_ends_a_call_and_leaves_no_thread(broker: GrpcBroker) -> None:
    broker.handler = lambda request, context: broker.gone.wait(20)
    before = set(threading.enumerate())
    client = Client(broker.target, plaintext=True)
    got: list[BaseException] = []

    def ask() -> None:
        try:
            client.source(GRANT, watch=True).token()
        except HoldfastError as e:
            got.append(e)

    caller = threading.Thread(target=ask)
    caller.start()
    until(lambda: bool(broker.requests))
    client.close()
    caller.join(10)
    assert [type(e) for e in got] == [ClosedError]
    mine = ("holdfast", "channel_spin")
    until(
        lambda: (
            not [t for t in set(threading.enumerate()) - before if any(m in t.name for m in mine)]
        )
    )
    client.close()


def test_a_channel_of_the_caller_stays_open(broker: GrpcBroker) -> None:
    with grpc.insecure_channel(broker.target) as channel:
        for _ in range(2):
            with Client.over(channel) as client:
                assert client.source(GRANT).token().generation == 1

    async def twice() -> None:
        async with grpc.aio.insecure_channel(broker.target) as channel:
            for _ in range(2):
                async with AsyncClient.over(channel) as client:
                    assert (await client.source(GRANT).token()).generation == 1

    asyncio.run(twice())


def test_watching_over_grpc(broker: GrpcBroker) -> None:
    with Client(broker.target, plaintext=True) as client:
        assert _generation(next(client.source(GRANT).watch())) == 7

    async def watch() -> int:
        async with AsyncClient(broker.target, plaintext=True) as client:
            return _generation(await anext(client.source(GRANT).watch()))

    assert asyncio.run(watch()) == 7


def _generation(event: WatchEvent) -> int:
    assert event.token is not None
    return event.token.generation


@both
def test_a_call_says_who_makes_it(broker: GrpcBroker, get: Get) -> None:
    get(broker.target, plaintext=True)
    assert str(broker.metadata[0]["user-agent"]).startswith("holdfast-client-python/")


def test_interceptors_are_called(broker: GrpcBroker) -> None:
    class Sync(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, proceed: Any, details: Any, request: Any) -> Any:
            seen.append(details.method)
            return proceed(details, request)

    class Async(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, proceed: Any, details: Any, request: Any) -> Any:
            seen.append(details.method)
            return await proceed(details, request)

    seen: list[Any] = []
    get_sync(broker.target, plaintext=True, interceptors=[Sync()])
    get_async(broker.target, plaintext=True, interceptors=[Async()])
    names = [m.decode() if isinstance(m, bytes) else m for m in seen]
    assert names == ["/holdfast.v1.TokenService/GetAccessToken"] * 2


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("broker.example:7443", {}, "no identity"),
    ("broker.example:7443", {"plaintext": True}, "in the clear"),
    ("127.0.0.1:1", {"plaintext": True, "token_file": "t"}, "not both"),
    ("127.0.0.1:1", {"cert": "c", "key": "k", "token_file": "t"}, "both a certificate"),
    ("127.0.0.1:1", {"cert": "/no/such", "key": "/no/such"}, "/no/such"),
    ("127.0.0.1:1", {"token_file": "/no/such"}, "/no/such"),
    ("127.0.0.1:1", {"plaintext": True, "timeout": 0}, "more than 0"),
    # gRPC would take them for times that are over.
    ("127.0.0.1:1", {"plaintext": True, "timeout": math.inf}, "at most 31536000, a year"),
    ("127.0.0.1:1", {"plaintext": True, "timeout": math.nan}, "more than 0"),
    ("127.0.0.1:1", {"plaintext": True, "timeout": 1e10}, "at most 31536000, a year"),
]


@pytest.mark.parametrize(("target", "arguments", "says"), BAD)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_mistake_is_found_before_any_call(
    kind: Any, target: str, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        kind(target, **arguments)


def test_a_grant_that_is_none_is_refused(broker: GrpcBroker) -> None:
    with Client(broker.target, plaintext=True) as client:
        grants: list[Any] = ["", "a/b", "a/b/c/d/e", "a/ö/c", "grt_x", None]
        for grant in grants:
            with pytest.raises(InvalidRequest, match="tenant/subject/product"):
                client.source(grant)


@pytest.mark.parametrize("min_ttl", [math.inf, -math.inf, math.nan, 1e300])
def test_a_min_ttl_that_no_request_can_hold_is_refused(broker: GrpcBroker, min_ttl: float) -> None:
    with Client(broker.target, plaintext=True) as client:
        with pytest.raises(InvalidRequest, match="want seconds") as e:
            client.source(GRANT, min_ttl=min_ttl)
        assert e.value.field == "min_ttl"


@pytest.mark.parametrize("timeout", [math.inf, 1e10])
def test_a_caller_may_wait_as_long_as_the_client(broker: GrpcBroker, timeout: float) -> None:
    with Client(broker.target, plaintext=True) as client:
        token = client.source(GRANT).token(timeout)
        assert client.source(GRANT).rejected(token, timeout=timeout) is None

    async def call() -> None:
        async with AsyncClient(broker.target, plaintext=True) as client:
            await client.source(GRANT).token(timeout)

    asyncio.run(call())


FORGOTTEN = """
import sys
from holdfast_client import Client
source = Client(sys.argv[1], plaintext=True).source("acme/automation/jira", watch=True)
print(source.token().generation, next(source.watch()).token is not None)
"""


def test_a_program_that_forgets_to_close_ends(broker: GrpcBroker) -> None:
    got = subprocess.run(
        [sys.executable, "-c", FORGOTTEN, broker.target],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (got.stdout, got.stderr) == ("1 True\n", "")


FORKED = """
import os, sys
from holdfast_client import Client, ForkedError
target, used = sys.argv[1], sys.argv[2] == "used"
client = Client(target, plaintext=True, timeout=10)
source = client.source("acme/automation/jira")
if used:
    source.token()
child = os.fork()
if child == 0:
    try:
        print("child:", source.token().generation, flush=True)
    except ForkedError as e:
        print("child: ForkedError", flush=True)
    client.close()
    os._exit(0)
os.waitpid(child, 0)
print("parent:", source.token().generation)
client.close()
"""


@pytest.mark.parametrize(
    ("used", "child"), [("unused", "child: 1"), ("used", "child: ForkedError")]
)
def test_after_a_fork_a_client_works_or_says_that_it_does_not(
    broker: GrpcBroker, used: str, child: str
) -> None:
    got = subprocess.run(
        [sys.executable, "-c", FORKED, broker.target, used],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert got.stdout.splitlines() == [child, "parent: 1"]
