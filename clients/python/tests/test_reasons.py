"""Each reason of the contract has its exception."""

from __future__ import annotations

import pickle
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

import holdfast_client
from holdfast_client import BrokerError, HoldfastError
from holdfast_client._status import from_message, from_rpc
from holdfast_client.v1 import error_reason_pb2
from holdfast_client.v1 import token_service_pb2 as pb

PREFIX = "ERROR_REASON_"
# As the contract has them; 0 is never sent.
REASONS = {
    v.name.removeprefix(PREFIX): v.number
    for v in error_reason_pb2.ErrorReason.DESCRIPTOR.values
    if v.number
}
TEMPORARY = {
    "PROVIDER_UNAVAILABLE",
    "REFRESH_IN_PROGRESS",
    "STORE_UNAVAILABLE",
    "KEY_UNAVAILABLE",
    "AUDIT_UNAVAILABLE",
    "PROVIDER_RATE_LIMITED",
    "CALLER_RATE_LIMITED",
    "INTERNAL",
    "STREAM_ENDED",
}


def class_of(reason: str) -> type[BrokerError]:
    found: type[BrokerError] = next(
        c
        for c in vars(holdfast_client).values()
        if isinstance(c, type) and issubclass(c, BrokerError) and reason == c.REASON
    )
    return found


class Failed(grpc.RpcError):
    """A call that failed as the broker lets it."""

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        packed = AnyMessage()
        packed.Pack(error_details_pb2.ErrorInfo(domain="holdfast", reason=reason))
        self._code = code
        self._status = status_pb2.Status(code=code.value[0], details=[packed])

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "a sentence"

    def trailing_metadata(self) -> Any:
        return (("grpc-status-details-bin", self._status.SerializeToString()),)


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_is_a_class_that_is_exported(reason: str) -> None:
    kind = class_of(reason)
    assert kind.__name__ in holdfast_client.__all__
    assert kind is not BrokerError
    failed = from_rpc(Failed(grpc.StatusCode.UNKNOWN, reason))
    pushed = from_message(pb.BatchError(reason=REASONS[reason], message="a sentence"))  # type: ignore[arg-type]
    for error in (failed, pushed, kind("a sentence"), pickle.loads(pickle.dumps(failed))):
        assert type(error) is kind
        assert error.reason == reason
        assert error.temporary is (reason in TEMPORARY)
        assert str(error) == f"{reason}: a sentence"
    assert (pushed.code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL")) is kind().temporary


def test_no_class_is_of_a_reason_that_there_is_not() -> None:
    of_broker = {
        c.REASON
        for c in vars(holdfast_client).values()
        if isinstance(c, type) and issubclass(c, BrokerError) and c.REASON
    }
    assert of_broker - set(REASONS) == {"UNREACHABLE"}


@pytest.mark.parametrize(
    ("code", "temporary"),
    [(grpc.StatusCode.UNAVAILABLE, True), (grpc.StatusCode.FAILED_PRECONDITION, False)],
)
def test_a_reason_of_a_newer_broker_is_treated_by_its_code(
    code: grpc.StatusCode, temporary: bool
) -> None:
    error = from_rpc(Failed(code, "NEWER"))
    assert type(error) is BrokerError
    assert isinstance(error, HoldfastError)
    assert (error.reason, error.code, error.temporary) == ("NEWER", code.name, temporary)
    message = pb.BatchError(reason=999, message="a sentence")  # type: ignore[arg-type]
    if temporary:
        message.retry_after.FromSeconds(3)
    pushed = from_message(message)
    assert type(pushed) is BrokerError
    assert (pushed.temporary, pushed.retry_after) == (temporary, 3.0 if temporary else 0.0)
