"""The files of an identity: read, checked, and read again when they change."""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from collections.abc import Callable
from typing import NamedTuple

import grpc

from holdfast_client._errors import ConfigError

# The least time between two looks at a token's file, in seconds. Orchestrators replace
# it long before the old token ends: Kubernetes does when a fifth of its life is left.
TOKEN_FILE_INTERVAL = 5.0

_Stamp = tuple[tuple[int, int, int], ...]


class Pem(NamedTuple):
    """What the files held when they were read."""

    ca: bytes | None
    key: bytes | None
    chain: bytes | None


class TLSFiles:
    """Certificate, key and CA of a client, as files that may be replaced at any time."""

    def __init__(self, cert: str, key: str, ca: str) -> None:
        """Read the files; raise ConfigError if they do not belong together."""
        self._paths = (cert, key, ca)
        self._stamp = self._look()
        self.pem = self._read()

    def changed(self) -> bool:
        """Read the files if they changed, and return whether ``pem`` did.

        Files that are just being replaced do not fit together: what was read before
        stays until they do.
        """
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return False
            pem = self._read()
            if self._look() != stamp:
                return False
        except ConfigError:
            return False
        self._stamp = stamp
        was, self.pem = self.pem, pem
        return was != pem

    def _look(self) -> _Stamp:
        stamps = []
        for path in self._paths:
            if path:
                try:
                    s = os.stat(path)
                except OSError as e:
                    raise ConfigError(f"reading {path}: {e.strerror}") from e
                stamps.append((s.st_mtime_ns, s.st_size, s.st_ino))
        return tuple(stamps)

    def _read(self) -> Pem:
        cert, key, ca = self._paths
        pem = Pem(
            _bytes(ca) if ca else _system_roots(), *(_bytes(p) if p else None for p in (key, cert))
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if ca:
            try:
                context.load_verify_locations(cadata=(pem.ca or b"").decode("ascii"))
            except (ssl.SSLError, ValueError) as e:
                raise ConfigError(f"reading the broker's CA: {ca} holds no PEM certificate") from e
        if cert:
            try:
                # Without the callback a key that is encrypted would ask at the terminal.
                context.load_cert_chain(cert, key, password=lambda: "")
            except (ssl.SSLError, OSError) as e:
                raise ConfigError(
                    f"loading the caller's certificate {cert} and key {key}: {e}"
                ) from e
        return pem


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as e:
        raise ConfigError(f"reading {path}: {e.strerror}") from e


def _system_roots() -> bytes | None:
    # Without it gRPC would use a list of its own, which no administrator knows of.
    path = ssl.get_default_verify_paths().cafile
    with contextlib.suppress(ConfigError):
        return _bytes(path) if path else None
    return None


class TokenFile(grpc.AuthMetadataPlugin):
    """Shows the bearer token in a file with each call, and reads it again when it changes.

    A file that is just being replaced does not end the token that was in it.
    """

    def __init__(self, path: str, monotonic: Callable[[], float]) -> None:
        """Read the file; raise ConfigError if it does not hold one token."""
        self._path, self._monotonic = path, monotonic
        self._lock = threading.Lock()  # guards the two below
        self._header = _bearer(path)
        self._looked = monotonic()

    def __call__(
        self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        """See grpc.AuthMetadataPlugin."""
        callback((("authorization", self.header()),), None)

    def header(self) -> str:
        """Return the value of the metadata ``authorization``."""
        with self._lock:
            now = self._monotonic()
            if now - self._looked >= TOKEN_FILE_INTERVAL:
                with contextlib.suppress(ConfigError):
                    self._header, self._looked = _bearer(self._path), now
            return self._header


def _bearer(path: str) -> str:
    text = _bytes(path).decode("ascii", "replace").strip()
    if not text or not text.isprintable() or " " in text or "\ufffd" in text:
        raise ConfigError(f"reading the caller's token: {path} does not hold one token")
    return "Bearer " + text
