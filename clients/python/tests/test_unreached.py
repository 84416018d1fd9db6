"""A broker that is not reached: what is wrong, and what to do about it."""

from __future__ import annotations

import datetime
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_broker import GrpcBroker
from test_identity import Pki
from test_wire import Get, both

from holdfast_client import AsyncClient, Client, ConfigError, Unreachable, _files
from holdfast_client._unreached import Way, why

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)


class World:
    """A caller's files, and brokers of several kinds; all end with the test."""

    def __init__(self, dir: Path) -> None:
        self.dir = dir
        self.mine, self.other = self._pki("mine"), self._pki("other")
        self.brokers: list[GrpcBroker] = []

    def _pki(self, name: str) -> Pki:
        (self.dir / name).mkdir()
        return Pki(self.dir / name)

    def broker(self, credentials: grpc.ServerCredentials | None) -> str:
        self.brokers.append(GrpcBroker(credentials))
        return self.brokers[-1].target

    def shows(self, leaf: trustme.LeafCert) -> str:
        """Return the target of a broker with this certificate."""
        chain = b"".join(c.bytes() for c in leaf.cert_chain_pems)
        return self.broker(grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), chain)]))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    for broker in world.brokers:
        broker.stop()


Case = tuple[str, dict[str, Any], str]


def wrong_ca(w: World) -> Case:
    files = {**w.mine.files, "ca": w.other.files["ca"]}
    return w.broker(w.mine.mutual), files, f"not vouched for by ca={files['ca']}"


def unknown_to_the_system(w: World) -> Case:
    files = {k: v for k, v in w.mine.files.items() if k != "ca"}
    return w.broker(w.mine.mutual), files, "not vouched for by the system's CAs"


def a_name_that_is_not_in_the_certificate(w: World) -> Case:
    target = w.shows(w.mine.ca.issue_cert("broker.example"))
    return target, w.mine.files, f"not for the host of {target}"


def a_broker_whose_certificate_has_expired(w: World) -> Case:
    target = w.shows(w.mine.ca.issue_cert("127.0.0.1", not_after=LONG_AGO))
    return target, w.mine.files, "not valid now|or it has expired"


def a_certificate_that_the_broker_does_not_know(w: World) -> Case:
    files = {**w.other.files, "ca": w.mine.files["ca"]}
    return w.broker(w.mine.mutual), files, f"on the certificate cert={files['cert']} if its trust"


def no_certificate_where_one_is_demanded(w: World) -> Case:
    (w.dir / "token").write_text("jwt")
    arguments = {"token_file": w.dir / "token", "ca": w.mine.files["ca"]}
    return w.broker(w.mine.mutual), arguments, "on a caller without a certificate"


def a_broker_without_tls(w: World) -> Case:
    return w.broker(None), w.mine.files, "does not speak TLS"


def a_broker_with_tls_and_a_caller_without(w: World) -> Case:
    return w.broker(w.mine.mutual), {"plaintext": True}, "give cert, key and ca instead"


def nobody(w: World) -> Case:
    with socket.socket() as s:  # bound and not listening: the port is nobody else's
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}", w.mine.files, "nothing listens at 127.0.0.1"


CASES: list[Callable[[World], Case]] = [
    wrong_ca,
    unknown_to_the_system,
    a_name_that_is_not_in_the_certificate,
    a_broker_whose_certificate_has_expired,
    a_certificate_that_the_broker_does_not_know,
    no_certificate_where_one_is_demanded,
    a_broker_without_tls,
    a_broker_with_tls_and_a_caller_without,
    nobody,
]


@both
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_it_says_what_is_wrong_and_keeps_grpcs_words(
    world: World, get: Get, case: Callable[[World], Case]
) -> None:
    target, arguments, says = case(world)
    with pytest.raises(Unreachable, match=says) as e:
        get(target, **arguments, timeout=10)
    assert e.value.temporary
    assert e.value.code == "UNAVAILABLE"
    raw = e.value.__cause__
    assert isinstance(raw, grpc.RpcError)
    assert f"(gRPC: {raw.details()})" in e.value.message
    assert not [r for b in world.brokers for r in b.requests]


@both
def test_a_server_of_another_kind_is_none(get: Get) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            try:
                while True:
                    peer, _ = server.accept()
                    with peer:
                        peer.recv(1000)
                        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\nno")
            except OSError:
                return

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unreachable, match="no gRPC server"):
            get(f"127.0.0.1:{server.getsockname()[1]}", plaintext=True, timeout=10)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


# What gRPC says where it cannot be brought about here, or in other versions.
WAY = Way("broker.example:7443", cert="me.crt", ca="ca.crt")
FAILED = "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:10.0.0.1:7443: "
WORDS = [
    (FAILED + "Unwrap failed (TSI_DATA_CORRUPTED)", "certificate cert=me.crt"),
    (FAILED + "SSL_ERROR_SSL: TLSV1_ALERT_UNKNOWN_CA", "certificate cert=me.crt"),
    (FAILED + "Peer name broker.example is not in peer certificate", "not for the host"),
    ("DNS resolution failed for broker.example:7443: C-ares status", "cannot be found"),
    ("errors resolving broker.example:7443: [field:hostname]", "cannot be found"),
    ("Deadline Exceeded", "did not answer in time"),
]


@pytest.mark.parametrize(("raw", "says"), WORDS)
def test_other_words_of_grpc_are_known(raw: str, says: str) -> None:
    assert says in why(raw, WAY)
    assert raw in why(raw, WAY)


def test_what_is_not_known_is_left_as_it_is() -> None:
    # A connection that breaks in the middle of a call says nothing about certificates.
    for raw in ("Socket closed", "a page", "GOAWAY received"):
        assert why(raw, WAY) == raw
    assert why("Deadline Exceeded", None) == "Deadline Exceeded"


def damaged(w: Pki, how: str) -> dict[str, Any]:
    files = w.files
    if how == "no such file":
        return {**files, "key": w.dir / "gone.key"}
    if how == "a directory":
        return {**files, "ca": w.dir}
    if how == "another key":
        was = files["cert"].read_bytes()
        w.issue("second")
        files["cert"].write_bytes(was)
    elif how == "no certificate":
        files["cert"].write_text("me")
    elif how == "no key":
        files["key"].write_text("me")
    elif how == "an encrypted key":
        files["key"].write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n")
    elif how == "no CA":
        files["ca"].write_text("me")
    elif how == "a broken key":
        files["key"].write_text("-----BEGIN PRIVATE KEY-----\nMIIB\n")
    return files


DAMAGES = [
    ("no such file", r"gone\.key: No such file or directory; check cert=, key="),
    ("a directory", "Is a directory; check cert=, key=, ca="),
    ("another key", "the key is not that of the certificate; give two"),
    ("no certificate", "cert= holds no PEM certificate"),
    ("no key", "key= holds no PEM private key"),
    ("an encrypted key", "key= is encrypted; give one without a passphrase"),
    ("a broken key", "have them issued again"),
    ("no CA", "holds no PEM certificate; give as ca="),
]


@pytest.mark.parametrize(("how", "says"), DAMAGES)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_files_that_are_no_identity_say_so(world: World, kind: Any, how: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        kind("127.0.0.1:1", **damaged(world.mine, how))


@pytest.mark.parametrize("text", ["", "two tokens", "a\nb", "\u00e9"])
def test_a_file_that_holds_no_token_says_so_without_showing_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(ConfigError, match="check token_file=") as e:
        Client("127.0.0.1:1", token_file=tmp_path / "token")
    assert not text or text not in str(e.value)


def test_the_key_is_shown_by_nothing_that_prints_variables(world: World) -> None:
    f = world.mine.files
    files = _files.TLSFiles(str(f["cert"]), str(f["key"]), str(f["ca"]))
    assert b"PRIVATE KEY" in (files.pem.key or b"")
    assert "PRIVATE KEY" not in f"{files.pem!r} {files.pem} {files!r}"


def test_without_ca_the_systems_are_believed_where_python_knows_a_directory_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = world.dir / "bundle.crt"
    world.mine.ca.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")  # as on Debian: its own is not there
    monkeypatch.setattr(_files, "_BUNDLES", ("/no/such/bundle", str(bundle)))
    f = world.mine.files
    assert _files.TLSFiles(str(f["cert"]), str(f["key"]), "").pem.ca == bundle.read_bytes()
