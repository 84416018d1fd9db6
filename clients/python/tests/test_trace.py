"""The context of OpenTelemetry, which goes with each call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from grpc_broker import GrpcBroker
from opentelemetry.sdk.trace import TracerProvider
from test_wire import Get, both


@pytest.fixture
def broker() -> Iterator[GrpcBroker]:
    broker = GrpcBroker()
    yield broker
    broker.stop()


@both
def test_the_trace_of_the_caller_is_passed_on(broker: GrpcBroker, get: Get) -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("nightly") as span:
        get(broker.target, plaintext=True)
    trace = format(span.get_span_context().trace_id, "032x")
    assert str(broker.metadata[0]["traceparent"]).split("-")[1] == trace


@both
def test_without_a_trace_there_is_none(broker: GrpcBroker, get: Get) -> None:
    get(broker.target, plaintext=True)
    assert "traceparent" not in broker.metadata[0]
