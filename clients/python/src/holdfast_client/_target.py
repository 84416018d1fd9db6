"""Whether a target can be one, before anything is connected to it."""

from __future__ import annotations

import re

from holdfast_client._errors import ConfigError

_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s:/\[\]@?#%]+):(\d{1,5})", re.ASCII)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#@]*)")
# The schemes of gRPC's own targets; any other would be looked up as the name of a host.
_SCHEMES = {"dns", "google-c2p", "ipv4", "ipv6", "unix", "unix-abstract", "vsock", "xds"}


def check(target: object) -> None:
    """Raise ConfigError, with what to write instead, for what is no target.

    gRPC would take it for the name of a host, and say at the first call, and at every
    later one, that there is none: that looks like a network that is down.
    """
    if isinstance(target, str) and (_host_port(target) or _of_grpc(target)):
        return
    hint = _hint(target) if isinstance(target, str) else ""
    raise ConfigError(
        f'target {target!r}: want host:port of the broker, e.g. "holdfast.internal:7443"{hint}'
    )


def _host_port(text: str) -> bool:
    m = _HOST_PORT.fullmatch(text)
    return m is not None and 1 <= int(m[1]) <= 65535


def _of_grpc(target: str) -> bool:
    scheme, _, rest = target.partition(":")
    if scheme not in _SCHEMES or any(c.isspace() for c in rest):
        return False
    return _host_port(rest.rpartition("/")[2]) if scheme == "dns" else bool(rest.strip("/"))


def _hint(target: str) -> str:
    bare = target.strip()
    url = _URL.match(bare)
    if url is not None and bare.partition(":")[0] not in _SCHEMES:
        there = url[1] if _host_port(url[1]) else "host:port"
        return f'; a URL is none: write "{there}"'
    if not bare:
        return "; it is empty"
    if _host_port(bare):
        return f'; without the blanks around it: write "{bare}"'
    if re.fullmatch(r"[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", bare):
        return '; an IPv6 address stands in brackets: write "[address]:port"'
    if _host_port(bare + ":1"):
        return f'; the port is missing: write "{bare}:port"'
    return "; the port is a number from 1 to 65535" if ":" in bare else ""
