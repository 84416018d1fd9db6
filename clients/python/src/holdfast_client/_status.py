"""What a failed call says, as an exception."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from holdfast_client._errors import BrokerError, Unreachable, for_reason
from holdfast_client._unreached import Way, why
from holdfast_client.v1 import error_reason_pb2
from holdfast_client.v1 import token_service_pb2 as pb

_DOMAIN = "holdfast"  # marks an ErrorInfo as the broker's
_DETAILS = "grpc-status-details-bin"

# The gRPC codes of the reasons, for those that come as messages and not as a status.
_CODES = {
    "GRANT_NOT_FOUND": "NOT_FOUND",
    "CALLER_UNAUTHENTICATED": "UNAUTHENTICATED",
    "CALLER_NOT_ALLOWED": "PERMISSION_DENIED",
    "PROVIDER_RATE_LIMITED": "RESOURCE_EXHAUSTED",
    "CALLER_RATE_LIMITED": "RESOURCE_EXHAUSTED",
    "INVALID_REQUEST": "INVALID_ARGUMENT",
    "INTERNAL": "INTERNAL",
}


def from_rpc(error: grpc.RpcError, way: Way | None = None) -> BrokerError:
    """Return the error of a failed call on a way. Its cause is the error of grpc."""
    code = _code(error)
    found: dict[str, Any] = {"code": code.name}
    reason = ""
    for detail in _details(error):
        reason = _fill(found, detail) or reason
    message = str(getattr(error, "details", lambda: "")() or code.name)
    if reason:
        built = for_reason(reason)(message, reason=reason, **found)
    else:
        built = Unreachable(why(message, way), **found)
    # What it says is of use; its frames would keep the call, and so a connection that has ended.
    built.__cause__ = error.with_traceback(None)
    return built


def from_message(error: pb.BatchError) -> BrokerError:
    """Return the error that came as a message of a stream."""
    name = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_number.get(error.reason)
    reason = name.name.removeprefix("ERROR_REASON_") if name else str(error.reason)
    retry = (
        error.retry_after.ToTimedelta().total_seconds() if error.HasField("retry_after") else 0.0
    )
    cls = for_reason(reason)
    # One without a name here is final unless it says when to retry.
    passes = error.HasField("retry_after") or cls().temporary
    default = "UNAVAILABLE" if passes else "FAILED_PRECONDITION"
    return cls(
        error.message,
        reason=reason,
        code=_CODES.get(reason, default),
        retry_after=max(0.0, retry),
        field=error.field,
        metadata=dict(error.metadata),
    )


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    code = getattr(error, "code", lambda: None)()
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


def _details(error: grpc.RpcError) -> list[AnyMessage]:
    trailers = getattr(error, "trailing_metadata", lambda: ())() or ()
    for key, value in trailers:
        if key == _DETAILS and isinstance(value, bytes):
            try:
                return list(status_pb2.Status.FromString(value).details)
            except DecodeError:
                return []
    return []


def _fill(found: dict[str, Any], detail: AnyMessage) -> str:
    """Take what one detail says; return the reason if it is that of the broker."""
    info, retry, bad = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.RetryInfo(),
        error_details_pb2.BadRequest(),
    )
    if detail.Unpack(info) and info.domain == _DOMAIN:
        found["metadata"] = dict(info.metadata)
        return str(info.reason)
    if detail.Unpack(retry):
        found["retry_after"] = max(0.0, retry.retry_delay.ToTimedelta().total_seconds())
    elif detail.Unpack(bad) and bad.field_violations:
        found["field"] = bad.field_violations[0].field
    return ""
