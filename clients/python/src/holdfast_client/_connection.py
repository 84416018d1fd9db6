"""Where the broker is and how to get there, for both kinds of client."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import grpc

from holdfast_client import _target
from holdfast_client._errors import ConfigError
from holdfast_client._files import TLSFiles, TokenFile
from holdfast_client._unreached import Way

try:
    __version__ = version("holdfast-client")
except PackageNotFoundError:  # run from its sources
    __version__ = "0"

# A call to the broker may include a refresh at the provider, which may take 30 s.
DEFAULT_TIMEOUT = 40.0
# The broker ends a stream after an hour; this only bounds one that nobody ends.
STREAM_TIMEOUT = 2 * 3600.0

Path = str | os.PathLike[str]


class Connection:
    """The broker's address, the caller's identity and the options of gRPC."""

    def __init__(
        self,
        target: str,
        *,
        cert: Path | None,
        key: Path | None,
        ca: Path | None,
        token_file: Path | None,
        plaintext: bool,
        options: Sequence[tuple[str, Any]],
    ) -> None:
        """Check and read everything; raise ConfigError. gRPC itself is not touched yet."""
        names = [os.fspath(p) if p else "" for p in (cert, key, ca, token_file)]
        cert_file, key_file, ca_file, token = names
        _target.check(target)
        _check(target, cert_file, key_file, token, plaintext)
        self.target = target
        self.way = Way(target, cert_file, ca_file, token, plaintext)
        self.files = None if plaintext else TLSFiles(cert_file, key_file, ca_file)
        self.token = TokenFile(token, time.monotonic) if token else None
        self.options = [
            ("grpc.primary_user_agent", f"holdfast-client-python/{__version__}"),
            # A broker that restarts is found again within seconds, not minutes.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 3000),
            # A connection that died silently would else hold a stream until its deadline.
            # The broker allows a ping every 10 s.
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            # Also between two calls: a call that runs out of time leaves the connection alone.
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.http2.ping_timeout_ms", 10_000),
            *options,
        ]

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return what the files say now; None: plaintext."""
        if self.files is None:
            return None
        pem = self.files.pem
        tls = grpc.ssl_channel_credentials(pem.ca, pem.key, pem.chain)
        if self.token is None:
            return tls
        return grpc.composite_channel_credentials(tls, grpc.metadata_call_credentials(self.token))

    def changed(self) -> bool:
        """Whether a new connection would show another certificate; reads the files."""
        return self.files is not None and self.files.changed()


def _check(target: str, cert: str, key: str, token: str, plaintext: bool) -> None:
    if plaintext and (cert or token):
        raise ConfigError("choose plaintext or an identity, not both")
    if cert and token:
        raise ConfigError(
            "choose cert or token_file: the broker refuses a call that shows both a certificate "
            "and a token"
        )
    if plaintext and not _loopback(target):
        raise ConfigError(
            f"plaintext to {target!r}: tokens would cross the network in the clear; "
            "use cert, key and ca"
        )
    if not plaintext and not token and not (cert and key):
        raise ConfigError(
            "no identity: the broker demands a client certificate or a token; "
            "give cert and key, or token_file"
        )


def _loopback(target: str) -> bool:
    """Whether target is host:port on this machine. Names but localhost may be anything."""
    host, colon, _ = target.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon:
        return False
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
