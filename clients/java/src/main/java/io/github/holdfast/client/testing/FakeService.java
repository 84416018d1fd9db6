package io.github.holdfast.client.testing;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.protobuf.Timestamp;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.github.holdfast.client.Reason;
import io.github.holdfast.v1.BatchError;
import io.github.holdfast.v1.ErrorReason;
import io.github.holdfast.v1.GetAccessTokenRequest;
import io.github.holdfast.v1.GetAccessTokenResponse;
import io.github.holdfast.v1.ReportRejectedTokenRequest;
import io.github.holdfast.v1.ReportRejectedTokenResponse;
import io.github.holdfast.v1.TokenServiceGrpc;
import io.github.holdfast.v1.TokenVerdict;
import io.github.holdfast.v1.WatchAccessTokenRequest;
import io.github.holdfast.v1.WatchAccessTokenResponse;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** What a {@link FakeBroker} answers. */
final class FakeService extends TokenServiceGrpc.TokenServiceImplBase {
  private static final java.time.Duration GUARANTEE = java.time.Duration.ofMinutes(10);
  private static final java.time.Duration AHEAD = java.time.Duration.ofMinutes(5);

  // All below are guarded by this.
  private long generation = 1;
  private java.time.Duration life = java.time.Duration.ofHours(1);
  private java.time.Duration shift = java.time.Duration.ZERO;
  private Instant rotated = Instant.now();
  private String apiBaseUrl = "https://api.example.com/ex/jira/cloud-1";
  private Reason refusal; // null: none
  private Map<String, String> metadata = Map.of();
  private TokenVerdict verdict = TokenVerdict.TOKEN_VERDICT_TOKEN_REJECTED;
  private int calls;
  private int reports;
  private final List<ServerCallStreamObserver<WatchAccessTokenResponse>> watches = new ArrayList<>();

  synchronized Instant now() {
    return Instant.now().plus(shift);
  }

  synchronized void apiBaseUrl(String url) {
    apiBaseUrl = url;
  }

  synchronized void life(java.time.Duration d) {
    life = d;
  }

  synchronized void verdict(TokenVerdict v) {
    verdict = v;
  }

  synchronized int calls() {
    return calls;
  }

  synchronized int reports() {
    return reports;
  }

  synchronized int watching() {
    return watches.size();
  }

  synchronized void rotate() {
    generation++;
    rotated = now();
    tell(event());
  }

  synchronized void refuse(Reason reason, Map<String, String> about) {
    code(reason);
    refusal = reason;
    metadata = Map.copyOf(about);
    tell(event());
  }

  synchronized void accept() {
    refusal = null;
    tell(event());
  }

  synchronized void advance(java.time.Duration by) {
    shift = shift.plus(by);
  }

  synchronized void expire() {
    advance(life.plusSeconds(1));
    rotate();
  }

  synchronized void endWatches() {
    StatusRuntimeException end = refused(Reason.STREAM_ENDED, Map.of());
    for (StreamObserver<WatchAccessTokenResponse> w : List.copyOf(watches)) {
      w.onError(end);
    }
    watches.clear();
  }

  private void tell(WatchAccessTokenResponse event) {
    for (StreamObserver<WatchAccessTokenResponse> w : watches) {
      w.onNext(event);
    }
  }

  private WatchAccessTokenResponse event() {
    if (refusal == null) {
      return WatchAccessTokenResponse.newBuilder().setToken(token()).build();
    }
    BatchError.Builder e = BatchError.newBuilder()
        .setReason(ErrorReason.valueOf("ERROR_REASON_" + refusal)).setMessage("refused by the fake broker").putAllMetadata(metadata);
    if (temporary(refusal)) {
      e.setRetryAfter(Duration.newBuilder().setSeconds(1));
    }
    return WatchAccessTokenResponse.newBuilder().setUnavailable(e).build();
  }

  private GetAccessTokenResponse token() {
    Instant now = now();
    if (!now.isBefore(rotated.plus(life).minus(AHEAD)) && life.compareTo(AHEAD) > 0) {
      generation++;
      rotated = now;
    }
    Instant expires = rotated.plus(life);
    Instant guaranteed = earlier(now.plus(GUARANTEE), expires);
    return GetAccessTokenResponse.newBuilder()
        .setAccessToken("fake-token-" + generation).setGeneration(generation).setApiBaseUrl(apiBaseUrl)
        .setServerTime(at(now)).setExpiresAt(at(expires)).setGuaranteedUntil(at(guaranteed))
        .setRefreshAfter(at(earlier(guaranteed, expires.minus(AHEAD)))).build();
  }

  private static Instant earlier(Instant a, Instant b) {
    return a.isBefore(b) ? a : b;
  }

  private static Timestamp at(Instant t) {
    return Timestamp.newBuilder().setSeconds(t.getEpochSecond()).setNanos(t.getNano()).build();
  }

  @Override
  public synchronized void getAccessToken(GetAccessTokenRequest request, StreamObserver<GetAccessTokenResponse> answer) {
    calls++;
    if (refusal != null) {
      answer.onError(refused(refusal, metadata));
      return;
    }
    answer.onNext(token());
    answer.onCompleted();
  }

  @Override
  public synchronized void reportRejectedToken(ReportRejectedTokenRequest request, StreamObserver<ReportRejectedTokenResponse> answer) {
    reports++;
    TokenVerdict v = request.getGeneration() < generation ? TokenVerdict.TOKEN_VERDICT_GENERATION_STALE : verdict;
    if (v == TokenVerdict.TOKEN_VERDICT_TOKEN_REJECTED) {
      rotate();
    }
    answer.onNext(ReportRejectedTokenResponse.newBuilder().setVerdict(v).build());
    answer.onCompleted();
  }

  @Override
  public synchronized void watchAccessToken(WatchAccessTokenRequest request, StreamObserver<WatchAccessTokenResponse> answer) {
    ServerCallStreamObserver<WatchAccessTokenResponse> watch = (ServerCallStreamObserver<WatchAccessTokenResponse>) answer;
    watch.setOnCancelHandler(() -> left(watch));
    watches.add(watch);
    if (refusal != null || request.getToken().getIfNotGeneration() != generation) {
      watch.onNext(event());
    }
  }

  private synchronized void left(ServerCallStreamObserver<WatchAccessTokenResponse> watch) {
    watches.remove(watch);
  }

  private static boolean temporary(Reason r) {
    Status.Code code = code(r);
    return code == Status.Code.UNAVAILABLE || code == Status.Code.RESOURCE_EXHAUSTED;
  }

  private static StatusRuntimeException refused(Reason reason, Map<String, String> about) {
    com.google.rpc.Status.Builder s = com.google.rpc.Status.newBuilder()
        .setCode(code(reason).value()).setMessage("refused by the fake broker")
        .addDetails(Any.pack(ErrorInfo.newBuilder()
            .setDomain("holdfast").setReason(reason.name()).putAllMetadata(about).putMetadata("request_id", "fake").build()));
    if (temporary(reason)) {
      s.addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(Duration.newBuilder().setSeconds(1)).build()));
    }
    return StatusProto.toStatusRuntimeException(s.build());
  }

  /** The code that the contract names beside each reason. */
  private static Status.Code code(Reason reason) {
    return switch (reason) {
      case GRANT_NOT_FOUND -> Status.Code.NOT_FOUND;
      case CALLER_UNAUTHENTICATED -> Status.Code.UNAUTHENTICATED;
      case CALLER_NOT_ALLOWED -> Status.Code.PERMISSION_DENIED;
      case CONSENT_REQUIRED, SITE_NOT_GRANTED, SITE_AMBIGUOUS, SCOPE_NOT_GRANTED, GRANT_REVOKED, GRANT_QUARANTINED, APP_PAUSED ->
          Status.Code.FAILED_PRECONDITION;
      case PROVIDER_UNAVAILABLE, REFRESH_IN_PROGRESS, STORE_UNAVAILABLE, KEY_UNAVAILABLE, AUDIT_UNAVAILABLE, STREAM_ENDED ->
          Status.Code.UNAVAILABLE;
      case PROVIDER_RATE_LIMITED, CALLER_RATE_LIMITED -> Status.Code.RESOURCE_EXHAUSTED;
      case INVALID_REQUEST -> Status.Code.INVALID_ARGUMENT;
      case INTERNAL -> Status.Code.INTERNAL;
      default -> throw new IllegalArgumentException("no broker gives the reason " + reason);
    };
  }
}
