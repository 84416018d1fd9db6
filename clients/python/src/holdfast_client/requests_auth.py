"""A source of tokens for requests; needs ``holdfast-client[requests]``.

::

    session = requests.Session()
    session.auth = HoldfastAuth(source)
    session.get(source.api_base_url() + "/rest/api/3/myself")

Libraries that are made on requests take a session of their caller; see the README.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urljoin

import requests
from requests.auth import AuthBase
from requests.cookies import extract_cookies_to_jar
from urllib3.util import parse_url

from holdfast_client._errors import RefusedOrigin
from holdfast_client._origin import Origin, Origins, origin, under
from holdfast_client._source import Source
from holdfast_client._token import AccessToken


class HoldfastAuth(AuthBase):
    """Sends each request of a session with a token.

    The token goes to allowed origins only, and a request to any other raises
    RefusedOrigin. A redirect to another origin, allowed or not, is followed without the
    token, and so is all that it leads to, back as well: Atlassian redirects downloads to
    hosts of their own. A 401 of theirs is the answer, and says nothing about the token.

    When the API answers 401, the token's generation is reported to the broker, once, and
    if that brings a newer token the request is sent a second time, once, provided that its
    body can be: bytes, text, none, or a file, which is read from where it stood. In every
    other case, e.g. for a generator, the 401 is the answer.
    """

    def __init__(
        self, source: Source, *, origins: Sequence[str] = (), timeout: float | None = None
    ) -> None:
        """Make one of a source.

        Args:
            source: Where the tokens come from.
            origins: Those that may see the token, as scheme://host[:port]. Default: the
                origin of the API base URL that the broker names for the site, only.
            timeout: How long a request waits for its token, in seconds. Default: as long
                as the client of the source.
        """
        self._source, self._timeout = source, timeout
        self._origins = Origins(origins)

    def __repr__(self) -> str:
        """Name the source; never a token."""
        return f"HoldfastAuth({self._source!r})"

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """See requests.auth.AuthBase."""
        token = self._source.token(self._timeout)
        self._origins.check(_origin(r.url), token.api_base_url)
        r.headers["Authorization"] = token.authorization
        r.register_hook("response", _Retry(self, token, _position(r.body)))  # type: ignore[no-untyped-call]
        return r


class _Retry:
    """Answers the 401 to one request, and to those that redirects made of it."""

    def __init__(self, auth: HoldfastAuth, token: AccessToken, position: int | None) -> None:
        self._auth, self._token, self._position = auth, token, position

    def __call__(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        auth, token, first = self._auth, self._token, response.request
        shown = response.request.headers.get("Authorization")
        if self._unauthorized(response) and shown == token.authorization:
            # Reported even if the request cannot be repeated: the next one profits.
            newer = auth._source.rejected(token, response.status_code, auth._timeout)
            # It may be one for another site: a new consent can change that.
            if newer is not None and self._allowed(response.request.url, newer):
                response = self._again(response, newer, kwargs)
        if response.is_redirect:
            self._lead(first, response)
        return response

    def _unauthorized(self, response: requests.Response) -> bool:
        return response.status_code == requests.codes.unauthorized and self._allowed(
            response.request.url, self._token
        )

    def _allowed(self, url: str | None, token: AccessToken) -> bool:
        try:
            return self._auth._origins.allow(_origin(url), token.api_base_url)
        except (RefusedOrigin, ValueError):
            return False

    def _lead(self, request: requests.PreparedRequest, redirect: requests.Response) -> None:
        """Take the token off a request whose redirect leads to another origin.

        The next one is a copy. By itself requests keeps it from http to https of a host.
        """
        try:
            to = urljoin(redirect.url, redirect.headers["Location"])
        except ValueError:
            to = ""
        if self.bears(request) and not _same(to, redirect.url):
            del request.headers["Authorization"]

    def bears(self, request: requests.PreparedRequest) -> bool:
        """Whether a request has the token."""
        return request.headers.get("Authorization") == self._token.authorization

    def keep(self, request: requests.PreparedRequest, before: str) -> None:
        """Leave the token on a request that a redirect from an URL made, if it stays there."""
        if _same(request.url, before):
            request.headers["Authorization"] = self._token.authorization
        elif self.bears(request):
            del request.headers["Authorization"]

    def _again(
        self, response: requests.Response, token: AccessToken, kwargs: dict[str, Any]
    ) -> requests.Response:
        """Send a response's request again with a token; if it cannot be, return the response."""
        sent = response.request
        if not self._rewind(sent.body):
            return response
        _ = response.content  # read to the end, so that the connection can be used again
        response.close()
        request = sent.copy()
        jar = getattr(request, "_cookies", None)
        if jar is not None:
            extract_cookies_to_jar(jar, sent, response.raw)  # type: ignore[no-untyped-call]
            request.prepare_cookies(jar)
        request.headers["Authorization"] = token.authorization
        repeated: requests.Response = response.connection.send(request, **kwargs)
        repeated.history.append(response)
        repeated.request = request
        return repeated

    def _rewind(self, body: Any) -> bool:
        """Make the body ready to be sent again; return whether it is."""
        if body is None or isinstance(body, (bytes, str)):
            return True
        if self._position is None:
            return False
        try:
            body.seek(self._position)
        except (AttributeError, OSError):
            return False
        return True


class Session(requests.Session):
    """A ``requests.Session`` for one source, whose URLs may be paths of the site's API.

    ``Session(source).get("/rest/api/3/myself")`` is resolved under the API base URL.
    """

    def __init__(
        self, source: Source, *, origins: Sequence[str] = (), timeout: float | None = None
    ) -> None:
        """Make one of a source; the arguments are those of HoldfastAuth."""
        super().__init__()
        self._source, self._timeout = source, timeout
        self.auth = HoldfastAuth(source, origins=origins, timeout=timeout)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """See requests.Session."""
        url = request.url
        url = url.decode() if isinstance(url, bytes) else str(url)
        if url.startswith("/") and not url.startswith("//"):
            request.url = under(self._source.token(self._timeout).api_base_url, url)
        return super().prepare_request(request)

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Keep the token where a redirect stays with its origin; see requests.Session."""
        hooks = prepared_request.hooks.get("response", ())
        ours = [h for h in hooks if isinstance(h, _Retry) and h.bears(prepared_request)]
        # By itself requests puts what is in .netrc in its place.
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        for hook in ours:
            hook.keep(prepared_request, response.url)


def _origin(url: str | None) -> Origin:
    # As urllib3 reads it, which makes the connection.
    parts = parse_url(url or "")
    if not parts.scheme or not parts.host:
        raise RefusedOrigin(f"refusing to send the token to a URL without scheme and host: {url!r}")
    return origin(parts.scheme, parts.host, parts.port)


def _same(url: str | None, other: str | None) -> bool:
    try:
        return _origin(url) == _origin(other)
    except (RefusedOrigin, ValueError):
        return False


def _position(body: Any) -> int | None:
    if body is None or isinstance(body, (bytes, str)):
        return None
    try:
        where = body.tell()
    except (AttributeError, OSError):
        return None
    return where if isinstance(where, int) else None
