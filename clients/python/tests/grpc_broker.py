"""A broker that speaks gRPC, for what goes over the wire."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from holdfast_client.v1 import token_service_pb2 as pb
from holdfast_client.v1 import token_service_pb2_grpc as services

Handler = Callable[[Any, grpc.ServicerContext], Any]


class GrpcBroker(services.TokenServiceServicer):
    """Answers every call with a token, or as ``handler`` does, and remembers metadata and peers."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self.metadata: list[dict[str, str | bytes]] = []
        self.peers: list[str] = []
        self.requests: list[Any] = []
        self.handler: Handler = lambda request, context: token(1)
        self.gone = threading.Event()
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        services.add_TokenServiceServicer_to_server(self, self.server)
        if credentials is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.target = f"127.0.0.1:{self.port}"
        self.server.start()

    def stop(self) -> None:
        self.gone.set()
        self.server.stop(0).wait()

    def _note(self, request: Any, context: grpc.ServicerContext) -> None:
        self.metadata.append(dict(context.invocation_metadata()))
        names: Any = context.auth_context().get("x509_common_name") or [b""]
        self.peers.append(names[0].decode())
        self.requests.append(request)

    def GetAccessToken(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._note(request, context)
        return self.handler(request, context)

    def BatchGetAccessTokens(self, request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")

    ListMyGrants = ReportRejectedToken = BatchGetAccessTokens

    def WatchAccessToken(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self._note(request, context)
        yield pb.WatchAccessTokenResponse(token=token(7))
        self.gone.wait(20)


def token(generation: int) -> pb.GetAccessTokenResponse:
    now = Timestamp()
    now.GetCurrentTime()
    return pb.GetAccessTokenResponse(
        access_token=f"token-{generation}",
        generation=generation,
        server_time=now,
        expires_at=Timestamp(seconds=now.seconds + 3600),
    )


def refuse(
    context: grpc.ServicerContext,
    code: grpc.StatusCode,
    reason: str,
    *,
    retry: float | None = None,
    field: str = "",
    **metadata: str,
) -> Any:
    """Fail a call as the broker does."""
    details: list[Any] = [
        error_details_pb2.ErrorInfo(domain="holdfast", reason=reason, metadata=metadata)
    ]
    if retry is not None:
        delay = Duration(nanos=int(retry * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    packed = []
    for detail in details:
        packed.append(AnyMessage())
        packed[-1].Pack(detail)
    status = status_pb2.Status(code=code.value[0], message="a sentence", details=packed)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, "a sentence")
