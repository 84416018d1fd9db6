"""A source of tokens for httpx; needs ``holdfast-client[httpx]``.

::

    with httpx.Client(auth=HoldfastAuth(source)) as jira:
        jira.get("/rest/api/3/myself")
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence

import httpx

from holdfast_client._aio_source import AsyncSource
from holdfast_client._origin import Origins, origin, under
from holdfast_client._source import Source
from holdfast_client._token import AccessToken


class HoldfastAuth(httpx.Auth):
    """Sends each request of a ``httpx.Client`` or ``httpx.AsyncClient`` with a token.

    A URL without a host, such as ``/rest/api/3/myself``, is resolved under the site's API
    base URL; leave ``base_url`` of the client empty for that.

    The token goes to allowed origins only, and a request to any other raises
    RefusedOrigin. A redirect to another origin, allowed or not, is followed without the
    token, and so is all that it leads to, back as well: Atlassian redirects downloads to
    hosts of their own. A 401 of theirs is the answer, and says nothing about the token. (One
    exception is httpx's own: a redirect from http to https of one host, both at their usual
    ports, keeps the token. A base URL with https, as Atlassian's, is never redirected so.)

    When the API answers 401, the token's generation is reported to the broker, once, and
    if that brings a newer token the request is sent a second time, once, provided that its
    body is bytes (as for ``content=bytes``, ``json=``, ``data=``) or none: generators, files
    and ``files=`` may be read only once. In every other case the 401 is the answer.
    """

    def __init__(
        self,
        source: Source | AsyncSource,
        *,
        origins: Sequence[str] = (),
        timeout: float | None = None,
    ) -> None:
        """Make one of a source: of a ``Client`` for ``httpx.Client``, or both asynchronous.

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

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """See httpx.Auth."""
        source = self._source
        if not isinstance(source, Source):
            raise TypeError("an AsyncSource serves httpx.AsyncClient: use a source of Client here")
        token = source.token(self._timeout)
        self._prepare(request, token)
        response = yield request
        if self._refused(response, token):
            # Reported even if the request cannot be repeated: the next one profits.
            newer = source.rejected(token, response.status_code, self._timeout)
            if newer is not None and self._fits(newer, response.request):
                yield _with(response.request, newer)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """See httpx.Auth."""
        source = self._source
        if not isinstance(source, AsyncSource):
            raise TypeError("a Source would block the event loop: use a source of AsyncClient here")
        token = await source.token(self._timeout)
        self._prepare(request, token)
        response = yield request
        if self._refused(response, token):
            newer = await source.rejected(token, response.status_code, self._timeout)
            if newer is not None and self._fits(newer, response.request):
                yield _with(response.request, newer)

    def _prepare(self, request: httpx.Request, token: AccessToken) -> None:
        if request.url.is_relative_url and not request.url.host:
            path = request.url.raw_path.decode("ascii")
            request.url = httpx.URL(under(token.api_base_url, path))
            request.headers["Host"] = request.url.netloc.decode("ascii")
        url = request.url
        self._origins.check(origin(url.scheme, url.host, url.port), token.api_base_url)
        request.headers["Authorization"] = token.authorization

    def _refused(self, response: httpx.Response, token: AccessToken) -> bool:
        """Whether this is the API's answer to the token; a redirect may have led elsewhere."""
        shown = response.request.headers.get("Authorization")
        return (
            response.status_code == httpx.codes.UNAUTHORIZED
            and shown == token.authorization
            and self._allowed(token, response.request)
        )

    def _fits(self, newer: AccessToken, request: httpx.Request) -> bool:
        """Whether to send a request again; a new consent can make a token for another site."""
        return isinstance(request.stream, httpx.ByteStream) and self._allowed(newer, request)

    def _allowed(self, token: AccessToken, request: httpx.Request) -> bool:
        url = request.url
        return self._origins.allow(origin(url.scheme, url.host, url.port), token.api_base_url)


def _with(request: httpx.Request, token: AccessToken) -> httpx.Request:
    # What a redirect led to, and not what led there: that has been done already.
    request.headers["Authorization"] = token.authorization
    return request
