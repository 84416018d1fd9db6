"""Certificates and token files, and what becomes of them when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from faces import GRANT
from grpc_broker import GrpcBroker, refuse
from test_wire import Get, both, get_sync

from holdfast_client import AsyncClient, CallerUnauthenticated, Client, Unreachable


@pytest.fixture
def broker() -> Iterator[GrpcBroker]:
    broker = GrpcBroker()
    yield broker
    broker.stop()


class Pki:
    """A CA, the files of a caller, and a broker that wants them."""

    def __init__(self, dir: Path) -> None:
        self.dir, self.ca = dir, trustme.CA()
        self.ca.cert_pem.write_to_path(dir / "ca.crt")
        server = self.ca.issue_cert("127.0.0.1", "localhost")
        self.issue("first")
        pem = self.ca.cert_pem.bytes()
        chain = b"".join(c.bytes() for c in server.cert_chain_pems)
        key = server.private_key_pem.bytes()
        self.mutual = grpc.ssl_server_credentials([(key, chain)], pem, require_client_auth=True)
        self.one_way = grpc.ssl_server_credentials([(key, chain)])

    def issue(self, name: str) -> None:
        leaf = self.ca.issue_cert("me@example.com", common_name=name)
        leaf.cert_chain_pems[0].write_to_path(self.dir / "me.crt")
        leaf.private_key_pem.write_to_path(self.dir / "me.key")

    @property
    def files(self) -> dict[str, Any]:
        return {"cert": self.dir / "me.crt", "key": self.dir / "me.key", "ca": self.dir / "ca.crt"}


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


def test_a_renewed_certificate_is_used_without_a_restart(pki: Pki) -> None:
    broker = GrpcBroker(pki.mutual)
    with Client(broker.target, **pki.files) as client:
        client.source(GRANT).token()
        pki.issue("second")
        client.source(GRANT).token()
        # Half of a replacement is not used: the pair would not fit.
        (pki.dir / "me.key").write_text("-----BEGIN PRIVATE KEY-----\n")
        client.source(GRANT).token()
        pki.issue("third")
        client.source(GRANT).token()
        assert len(client._wire._lines) == 1  # type: ignore[attr-defined]
    assert broker.peers == ["first", "second", "second", "third"]
    broker.stop()


def test_the_first_connection_shows_what_the_files_hold_by_then(pki: Pki) -> None:
    broker = GrpcBroker(pki.mutual)

    async def first() -> None:
        async with AsyncClient(broker.target, **pki.files) as client:
            pki.issue("second")
            await client.source(GRANT).token()

    asyncio.run(first())
    with Client(broker.target, **pki.files) as client:
        pki.issue("third")
        client.source(GRANT).token()
    assert broker.peers == ["second", "third"]
    broker.stop()


def test_a_renewed_certificate_is_used_by_asyncio(pki: Pki) -> None:
    broker = GrpcBroker(pki.mutual)

    async def renew() -> None:
        async with AsyncClient(broker.target, **pki.files) as client:
            await client.source(GRANT).token()
            pki.issue("second")
            await client.source(GRANT).token()

    asyncio.run(renew())
    assert broker.peers == ["first", "second"]
    broker.stop()


@both
def test_a_broker_of_another_ca_is_not_believed(pki: Pki, tmp_path: Path, get: Get) -> None:
    (tmp_path / "other").mkdir()
    other = Pki(tmp_path / "other")
    broker = GrpcBroker(other.mutual)
    with pytest.raises(Unreachable):
        get(broker.target, **pki.files, timeout=5)
    assert not broker.requests
    broker.stop()


@both
def test_a_token_file_is_shown_with_each_call(pki: Pki, tmp_path: Path, get: Get) -> None:
    broker = GrpcBroker(pki.one_way)
    (tmp_path / "token").write_text("jwt-1\n")
    get(broker.target, token_file=tmp_path / "token", ca=pki.files["ca"])
    assert broker.metadata[0]["authorization"] == "Bearer jwt-1"
    broker.stop()


def test_a_refused_identity_says_so(broker: GrpcBroker) -> None:
    broker.handler = lambda request, context: refuse(
        context, grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED"
    )
    with pytest.raises(CallerUnauthenticated):
        get_sync(broker.target, plaintext=True)
