"""Why there is no token, as exceptions that a program can act on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = [
    "AppPaused",
    "AuditUnavailable",
    "BrokerError",
    "CallerNotAllowed",
    "CallerRateLimited",
    "CallerTimeout",
    "CallerUnauthenticated",
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
    "SiteAmbiguous",
    "SiteNotGranted",
    "StoreUnavailable",
    "StreamEnded",
    "Unreachable",
]

E_ = TypeVar("E_", bound="HoldfastError")


class HoldfastError(Exception):
    """Anything that this package raises on purpose."""


class ConfigError(HoldfastError, ValueError):
    """The client cannot be made like this: a file that cannot be read, or no identity."""


class ClosedError(HoldfastError):
    """The client is closed."""


class ForkedError(HoldfastError):
    """The client had connections when the process forked: make one in each process."""


class CallerTimeout(HoldfastError, TimeoutError):
    """The ``timeout`` that the caller gave has passed; the call to the broker goes on."""


class RefusedOrigin(HoldfastError):
    """The request would take the token to an origin that may not see it."""


class BrokerError(HoldfastError):
    """Why the broker gave no token; the subclass says it for the reasons known here.

    Attributes:
        reason: Machine-readable, such as ``CONSENT_REQUIRED``. A newer broker may have
            new ones, which come as a plain ``BrokerError``: treat them by ``code``.
        code: Name of the gRPC code, such as ``FAILED_PRECONDITION``; empty for what was
            found before any call.
        message: For people: what was wrong and what to do next.
        retry_after: The least time to wait before a retry, in seconds; 0: a retry is no
            cure, or the broker named no time.
        request_id: Finds the call in the broker's log and audit record; may be empty.
        metadata: All details of the reason by name.
    """

    REASON = ""

    def __init__(
        self,
        message: str = "",
        *,
        reason: str = "",
        code: str = "",
        retry_after: float = 0.0,
        field: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Make one, e.g. for ``holdfast_client.testing``; the package makes all others."""
        super().__init__(message)
        self.message = message
        self.reason = reason or self.REASON
        self.code = code
        self.retry_after = retry_after
        self.field = field
        self.metadata = dict(metadata or {})

    @property
    def request_id(self) -> str:
        """Id of the call in the broker's log and audit record; may be empty."""
        return self.metadata.get("request_id", "")

    @property
    def temporary(self) -> bool:
        """Whether a later call may succeed without anybody acting."""
        return self.code in _TEMPORARY_CODES

    def __str__(self) -> str:
        """Reason, message and request."""
        text = f"{self.reason}: {self.message}"
        return f"{text} (request {self.request_id})" if self.request_id else text

    def __repr__(self) -> str:
        """As ``str``, with the class."""
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Let copies and pickles keep the keyword arguments."""
        arguments = (self.reason, self.code, self.retry_after, self.field, self.metadata)
        return _rebuild, (type(self), self.message, *arguments)


class _Temporary(BrokerError):
    @property
    def temporary(self) -> bool:
        """Always: that is what the reason says."""
        return True


class _Final(BrokerError):
    @property
    def temporary(self) -> bool:
        """Never: somebody has to act first."""
        return False


class GrantNotFound(_Final):
    """There is no such grant, or the policy hides it. Fix the key."""

    REASON = "GRANT_NOT_FOUND"


class CallerUnauthenticated(_Final):
    """No valid client certificate or token. Ask an operator."""

    REASON = "CALLER_UNAUTHENTICATED"


class CallerNotAllowed(_Final):
    """The policy does not let this caller do it. Ask an operator."""

    REASON = "CALLER_NOT_ALLOWED"


class _Linked(_Final):
    @property
    def link(self) -> str:
        """The connect page to send a person to; may be empty. Whoever has it can consent."""
        return self.metadata.get("link", "")


class ConsentRequired(_Linked):
    """The grant needs a person's consent: send one to ``link``. Do not retry."""

    REASON = "CONSENT_REQUIRED"

    @property
    def why(self) -> str:
        """A short word such as ``REFUSED``."""
        return self.metadata.get("why", "")


class SiteNotGranted(_Linked):
    """The grant does not reach the site. Ask for a new consent."""

    REASON = "SITE_NOT_GRANTED"

    @property
    def sites(self) -> list[str]:
        """The sites that the grant reaches: cloud id and URL, for people."""
        return _listed(self.metadata.get("sites", ""))


class SiteAmbiguous(_Final):
    """Several sites match. Name one of ``sites``."""

    REASON = "SITE_AMBIGUOUS"

    @property
    def sites(self) -> list[str]:
        """The candidates: cloud id and URL, for people."""
        return _listed(self.metadata.get("sites", ""))


class ScopeNotGranted(_Linked):
    """The token lacks what ``missing`` lists. Ask for a new consent."""

    REASON = "SCOPE_NOT_GRANTED"

    @property
    def missing(self) -> list[str]:
        """The scopes that the token lacks."""
        return self.metadata.get("missing", "").replace(",", " ").split()


class GrantRevoked(_Final):
    """An operator ended the grant. Stop."""

    REASON = "GRANT_REVOKED"


class GrantQuarantined(_Final):
    """The grant may be a copy. Stop and tell an operator."""

    REASON = "GRANT_QUARANTINED"


class AppPaused(_Final):
    """The grant's app is misconfigured or paused. Tell an operator."""

    REASON = "APP_PAUSED"


class ProviderUnavailable(_Temporary):
    """Retry after ``retry_after``."""

    REASON = "PROVIDER_UNAVAILABLE"


class RefreshInProgress(_Temporary):
    """Retry after ``retry_after``; the refresh goes on."""

    REASON = "REFRESH_IN_PROGRESS"


class StoreUnavailable(_Temporary):
    """Retry after ``retry_after``."""

    REASON = "STORE_UNAVAILABLE"


class KeyUnavailable(_Temporary):
    """Retry after ``retry_after``."""

    REASON = "KEY_UNAVAILABLE"


class AuditUnavailable(_Temporary):
    """Retry after ``retry_after``."""

    REASON = "AUDIT_UNAVAILABLE"


class ProviderRateLimited(_Temporary):
    """Retry after ``retry_after``."""

    REASON = "PROVIDER_RATE_LIMITED"


class CallerRateLimited(_Temporary):
    """Retry after ``retry_after``, and ask less often."""

    REASON = "CALLER_RATE_LIMITED"


class InvalidRequest(_Final):
    """Fix ``field``."""

    REASON = "INVALID_REQUEST"


class InternalError(_Temporary):
    """The broker failed in a way that it has no word for. Report ``request_id``."""

    REASON = "INTERNAL"


class StreamEnded(_Temporary):
    """A stream ended in good order. A source that watches opens another one by itself."""

    REASON = "STREAM_ENDED"


class Unreachable(_Temporary):
    """The broker did not answer, or what answered is no broker; ``message`` says why.

    Retry later. If it never worked, the address or the files of the client are wrong.
    """

    REASON = "UNREACHABLE"


_TEMPORARY_CODES = frozenset(
    {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "CANCELLED"}
)


def _leaves(cls: type[BrokerError]) -> dict[str, type[BrokerError]]:
    found = {cls.REASON: cls} if cls.REASON else {}
    for sub in cls.__subclasses__():
        found.update(_leaves(sub))
    return found


_BY_REASON = _leaves(BrokerError)


def for_reason(reason: str) -> type[BrokerError]:
    """Return the class of a reason."""
    return _BY_REASON.get(reason, BrokerError)


def again(error: E_) -> E_:
    """Return a copy to raise: one object raised by many callers would collect their stacks."""
    fresh = copy.copy(error)
    fresh.__cause__ = error.__cause__
    return fresh


def is_temporary(error: BaseException) -> bool:
    """Whether an error says nothing about the grant or the caller."""
    return isinstance(error, BrokerError) and error.temporary


def _listed(text: str) -> list[str]:
    return [s.strip() for s in text.split(",") if s.strip() not in ("", "none")]


def _rebuild(
    cls: type[BrokerError],
    message: str,
    reason: str,
    code: str,
    retry_after: float,
    field: str,
    metadata: dict[str, str],
) -> BrokerError:
    return cls(
        message,
        reason=reason,
        code=code,
        retry_after=retry_after,
        field=field,
        metadata=metadata,
    )
