"""One grant of the broker for unit tests."""

from __future__ import annotations

import queue

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast_client._errors import BrokerError, again
from holdfast_client.v1 import error_reason_pb2, grant_pb2
from holdfast_client.v1 import token_service_pb2 as pb

Stream = queue.Queue[pb.WatchAccessTokenResponse | None]


class FakeGrant:
    """Generations of tokens; its broker lets nobody else in meanwhile."""

    def __init__(self, lifetime: float, now: float) -> None:
        """Begin with the first generation."""
        self._lifetime = lifetime
        self._generation, self._base = 1, ""
        self.expires_at = now + lifetime
        self._refused: BrokerError | None = None
        self._streams: list[Stream] = []

    def rotate(self, now: float) -> None:
        """Make the next generation, and tell the streams."""
        self._generation += 1
        self.expires_at = now + self._lifetime
        self._refused = None
        self._tell(now)

    def refuse(self, error: BrokerError) -> None:
        """Refuse from now on, and tell the streams."""
        self._refused = error
        for stream in self._streams:
            stream.put(pb.WatchAccessTokenResponse(unavailable=_message(error)))

    def answer(self, now: float, api_base_url: str) -> pb.GetAccessTokenResponse:
        """Answer a call: a token in the last quarter of its life is renewed first."""
        if self._refused is not None:
            raise again(self._refused)
        self._base = api_base_url
        if self.expires_at - now <= self._lifetime / 4:
            self.rotate(now)
        return self._token(now)

    def report(self, generation: int, accepted: bool, now: float) -> pb.TokenVerdict.ValueType:
        """Answer a report."""
        if self._refused is not None:
            raise again(self._refused)
        if generation < self._generation:
            return pb.TOKEN_VERDICT_GENERATION_STALE
        if accepted:
            return pb.TOKEN_VERDICT_TOKEN_ACCEPTED
        self.rotate(now)
        return pb.TOKEN_VERDICT_TOKEN_REJECTED

    def open(self, known: int, now: float, api_base_url: str) -> Stream:
        """Open a stream, whose first message is the present state unless it is known."""
        self._base = api_base_url
        stream: Stream = queue.Queue()
        self._streams.append(stream)
        if self._refused is not None:
            stream.put(pb.WatchAccessTokenResponse(unavailable=_message(self._refused)))
        elif known != self._generation:
            stream.put(pb.WatchAccessTokenResponse(token=self._token(now)))
        return stream

    def break_streams(self) -> None:
        """End all streams as a broken connection does."""
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.put(None)

    def _tell(self, now: float) -> None:
        for stream in self._streams:
            stream.put(pb.WatchAccessTokenResponse(token=self._token(now)))

    def _token(self, now: float) -> pb.GetAccessTokenResponse:
        return pb.GetAccessTokenResponse(
            access_token=f"fake-token-{self._generation}",
            expires_at=_timestamp(self.expires_at),
            guaranteed_until=_timestamp(self.expires_at - self._lifetime / 8),
            refresh_after=_timestamp(self.expires_at - self._lifetime / 4),
            server_time=_timestamp(now),
            generation=self._generation,
            grant_id="grt_fake",
            scopes=["read:jira-work"],
            site=grant_pb2.Site(cloud_id="cloud-1", url="https://acme.example"),
            api_base_url=self._base,
        )


def _timestamp(seconds: float) -> Timestamp:
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e9))


def _message(error: BrokerError) -> pb.BatchError:
    values = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    number = values.get("ERROR_REASON_" + error.reason)
    message = pb.BatchError(
        reason=error_reason_pb2.ErrorReason.ValueType(number.number if number else 0),
        message=error.message,
        metadata=error.metadata,
        field=error.field,
    )
    if error.temporary:
        nanos = int((error.retry_after % 1) * 1e9)
        message.retry_after.CopyFrom(Duration(seconds=int(error.retry_after), nanos=nanos))
    return message
