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

    def __repr__(self) -> str:
        """Show nothing: tools that report errors print the variables of each frame."""
        return "<Pem>"


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
                    raise _unreadable(path, e) from e
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
                raise ConfigError(
                    f"reading the broker's CA: {ca} holds no PEM certificate; give as ca= the "
                    "file of the CA that signed the broker's certificate"
                ) from e
        if cert:
            try:
                # Without the callback a key that is encrypted would ask at the terminal.
                context.load_cert_chain(cert, key, password=lambda: "")
            except (ssl.SSLError, OSError) as e:
                raise ConfigError(
                    f"loading the caller's certificate {cert} and key {key}: {_no_pair(pem, e)}"
                ) from e
        return pem


def _no_pair(pem: Pem, error: Exception) -> str:
    """Say why two files that could be read are no certificate with its key."""
    if b"-----BEGIN CERTIFICATE-----" not in (pem.chain or b""):
        return "cert= holds no PEM certificate"
    if b"ENCRYPTED" in (pem.key or b""):
        return "key= is encrypted; give one without a passphrase, readable by this program alone"
    if b"PRIVATE KEY-----" not in (pem.key or b""):
        return "key= holds no PEM private key"
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate; give two that were issued together"
    return f"they cannot be read as PEM ({error}); have them issued again"


def _unreadable(path: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"reading {path}: {error.strerror}; check cert=, key=, ca= or token_file=, and that this "
        "program may read the file"
    )


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as e:
        raise _unreadable(path, e) from e


# Where systems keep the CAs that their administrators trust, all in one file: Debian and most
# others, Fedora, openSUSE, Alpine and the BSDs. Python itself knows a directory on some of
# them, which gRPC cannot read.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def _system_roots() -> bytes | None:
    # Without them gRPC would use a list of its own, which no administrator knows of.
    named = ssl.get_default_verify_paths().cafile
    for path in (named, *_BUNDLES):
        with contextlib.suppress(ConfigError):
            if path:
                return _bytes(path)
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
        raise ConfigError(
            f"reading the caller's token: {path} does not hold one token, and nothing else; "
            "check token_file="
        )
    return "Bearer " + text
