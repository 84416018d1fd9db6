"""The context of OpenTelemetry, which goes with each call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from faces import GRANT, until
from grpc_broker import GrpcBroker
from opentelemetry.sdk.trace import TracerProvider
from test_wire import Get, both

from holdfast_client import AsyncClient, Client


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


def test_a_stream_is_in_no_trace(broker: GrpcBroker) -> None:
    tracer = TracerProvider().get_tracer("test")
    with Client(broker.target, plaintext=True) as client:
        with tracer.start_as_current_span("nightly"):
            client.source(GRANT, watch=True).token()
        until(lambda: len(broker.metadata) == 2)

    async def watch() -> None:
        async with AsyncClient(broker.target, plaintext=True) as client:
            source = client.source(GRANT, watch=True)
            with tracer.start_as_current_span("nightly"):
                await source.token()
            while len(broker.metadata) < 4:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(watch(), 20))
    assert ["traceparent" in m for m in broker.metadata] == [True, False, True, False]
