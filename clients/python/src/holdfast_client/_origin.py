"""Where a token may go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from holdfast_client._errors import ConfigError, RefusedOrigin

_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme, host and port, the default port spelled out."""

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        """As people write it."""
        return f"{self.scheme}://{self.host}:{self.port}"


def origin(scheme: str, host: str, port: int | None) -> Origin:
    """Return the origin of the parts of a URL as its HTTP client reads them."""
    scheme = scheme.lower()
    return Origin(scheme, host.lower().strip("[]"), port or _PORTS.get(scheme))


def parse(url: str) -> Origin:
    """Return the origin of a URL; raise ConfigError if it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise ConfigError(f"origin {url!r}: {e}") from e
    if not parts.scheme or not parts.hostname:
        raise ConfigError(f"origin {url!r}: want scheme://host[:port]")
    return origin(parts.scheme, parts.hostname, port)


class Origins:
    """The origins that may see a token: those named, or else that of the API's base URL."""

    def __init__(self, named: Sequence[str]) -> None:
        """Parse the origins; none: that of the API's base URL alone."""
        if isinstance(named, str):
            raise ConfigError(f"origins {named!r}: want a list of origins")
        self._named = frozenset(parse(o) for o in named)

    def allow(self, to: Origin, api_base_url: str) -> bool:
        """Whether a token may go there."""
        return to in self._allowed(api_base_url)

    def check(self, to: Origin, api_base_url: str) -> None:
        """Raise RefusedOrigin if a token may not go there."""
        allowed = self._allowed(api_base_url)
        if to not in allowed:
            names = ", ".join(sorted(map(str, allowed)))
            raise RefusedOrigin(
                f"refusing to send the token to {to}: allowed are "
                f"{names or 'none, since the grant has no site or several'}; see origins="
            )

    def _allowed(self, api_base_url: str) -> frozenset[Origin]:
        if self._named:
            return self._named
        return frozenset({parse(api_base_url)}) if api_base_url else frozenset()


def under(api_base_url: str, path_and_query: str) -> str:
    """Return the URL of a path below the API's base URL."""
    if not api_base_url:
        raise ConfigError(
            "the grant has no site or several, so there is no API base URL; choose one by site="
        )
    path = path_and_query.partition("?")[0]
    # Decoded first: a server may take %2F and %5C for separators as well.
    if ".." in unquote(path).replace("\\", "/").split("/"):
        raise RefusedOrigin(f'{path!r} leaves the site\'s API: remove the ".."')
    return api_base_url + "/" + path_and_query.lstrip("/")
