"""Client of Holdfast, the broker that owns an organisation's Atlassian refresh tokens.

It hands out short-lived access tokens from a cache that it keeps fresh::

    from holdfast_client import Client

    with Client("holdfast.internal:7443", cert="me.crt", key="me.key", ca="ca.crt") as client:
        source = client.source("acme/automation/jira", purpose="nightly-sync")
        token = source.token()

``AsyncClient`` has the same face for asyncio. ``holdfast_client.httpx_auth`` and
``holdfast_client.requests_auth`` use a source in HTTP clients, and
``holdfast_client.testing`` has a broker for unit tests.
"""

from holdfast_client._aio_client import AsyncClient
from holdfast_client._aio_source import AsyncSource
from holdfast_client._client import Client
from holdfast_client._connection import __version__
from holdfast_client._errors import (
    AppPaused,
    AuditUnavailable,
    BrokerError,
    CallerNotAllowed,
    CallerRateLimited,
    CallerTimeout,
    CallerUnauthenticated,
    ClosedError,
    ConfigError,
    ConsentRequired,
    ForkedError,
    GrantNotFound,
    GrantQuarantined,
    GrantRevoked,
    HoldfastError,
    InternalError,
    InvalidRequest,
    KeyUnavailable,
    ProviderRateLimited,
    ProviderUnavailable,
    RefreshInProgress,
    RefusedOrigin,
    ScopeNotGranted,
    SiteAmbiguous,
    SiteNotGranted,
    StoreUnavailable,
    StreamEnded,
    Unreachable,
)
from holdfast_client._news import WatchEvent
from holdfast_client._source import Source
from holdfast_client._token import AccessToken, Site

__all__ = [
    "AccessToken",
    "AppPaused",
    "AsyncClient",
    "AsyncSource",
    "AuditUnavailable",
    "BrokerError",
    "CallerNotAllowed",
    "CallerRateLimited",
    "CallerTimeout",
    "CallerUnauthenticated",
    "Client",
    "ClosedError",
    "ConfigError",
    "ConsentRequired",
    "ForkedError",
    "GrantNotFound",
    "GrantQuarantined",
    "GrantRevoked",
    "HoldfastError",
    "InternalError",
    "InvalidRequest",
    "KeyUnavailable",
    "ProviderRateLimited",
    "ProviderUnavailable",
    "RefreshInProgress",
    "RefusedOrigin",
    "ScopeNotGranted",
    "Site",
    "SiteAmbiguous",
    "SiteNotGranted",
    "Source",
    "StoreUnavailable",
    "StreamEnded",
    "Unreachable",
    "WatchEvent",
    "__version__",
]
