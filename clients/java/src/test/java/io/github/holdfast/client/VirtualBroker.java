package io.github.holdfast.client;

import com.google.protobuf.Any;
import com.google.protobuf.Timestamp;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.github.holdfast.v1.GetAccessTokenRequest;
import io.github.holdfast.v1.GetAccessTokenResponse;
import io.github.holdfast.v1.ReportRejectedTokenRequest;
import io.github.holdfast.v1.TokenVerdict;
import io.github.holdfast.v1.WatchAccessTokenRequest;
import io.github.holdfast.v1.WatchAccessTokenResponse;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/** Answers as a broker of one grant would, in virtual time. Its clock is skewed. */
final class VirtualBroker implements Broker {
  private final ManualTiming timing;
  long generation = 1;
  Duration life = Duration.ofHours(1);
  Duration guarantee = Duration.ofMinutes(10);
  Duration ahead = Duration.ofMinutes(5);
  Duration skew = Duration.ZERO;
  Duration delay = Duration.ZERO;
  /** Refreshes fail: no rotation when it is due. */
  boolean stuck;
  /** What to answer instead of the present token; null: that. */
  GetAccessTokenResponse answered;
  StatusRuntimeException fail;
  StatusRuntimeException reportFail;
  TokenVerdict verdict = TokenVerdict.TOKEN_VERDICT_TOKEN_REJECTED;
  final List<GetAccessTokenRequest> requests = new ArrayList<>();
  final List<ReportRejectedTokenRequest> reports = new ArrayList<>();
  final List<WatchAccessTokenRequest> watches = new ArrayList<>();
  Sink stream;
  int cancelled;
  private long rotated;

  VirtualBroker(ManualTiming timing) {
    this.timing = timing;
    this.rotated = timing.nanos();
  }

  void rotate() {
    generation++;
    rotated = timing.nanos();
  }

  @Override
  public CompletableFuture<GetAccessTokenResponse> get(GetAccessTokenRequest request, Duration deadline) {
    requests.add(request);
    CompletableFuture<GetAccessTokenResponse> result = new CompletableFuture<>();
    if (delay.compareTo(deadline) > 0) {
      timing.after(deadline, () -> result.completeExceptionally(Status.DEADLINE_EXCEEDED.asRuntimeException()));
    } else if (delay.isZero()) {
      answer(result);
    } else {
      timing.after(delay, () -> answer(result));
    }
    return result;
  }

  private void answer(CompletableFuture<GetAccessTokenResponse> result) {
    if (fail != null) {
      result.completeExceptionally(fail);
    } else {
      result.complete(answered != null ? answered : token());
    }
  }

  GetAccessTokenResponse token() {
    if (!stuck && timing.nanos() - rotated >= life.minus(ahead).toNanos()) {
      rotate();
    }
    long now = timing.nanos();
    long expires = rotated + life.toNanos();
    long guaranteed = Math.min(expires, now + guarantee.toNanos());
    return GetAccessTokenResponse.newBuilder()
        .setAccessToken("token-" + generation).setGeneration(generation).setApiBaseUrl("https://api.example.com/ex/jira/cloud-1")
        .setServerTime(at(now)).setExpiresAt(at(expires)).setGuaranteedUntil(at(guaranteed))
        .setRefreshAfter(at(Math.min(guaranteed, expires - ahead.toNanos()))).build();
  }

  private Timestamp at(long nanos) {
    Duration t = Duration.ofSeconds(1_700_000_000).plusNanos(nanos).plus(skew);
    return Timestamp.newBuilder().setSeconds(t.getSeconds()).setNanos(t.getNano()).build();
  }

  @Override
  public CompletableFuture<TokenVerdict> report(ReportRejectedTokenRequest request, Duration deadline) {
    reports.add(request);
    if (reportFail != null) {
      return CompletableFuture.failedFuture(reportFail);
    }
    if (verdict == TokenVerdict.TOKEN_VERDICT_TOKEN_REJECTED) {
      rotate();
    }
    return CompletableFuture.completedFuture(verdict);
  }

  @Override
  public Runnable watch(WatchAccessTokenRequest request, Duration atMost, Sink sink) {
    watches.add(request);
    stream = sink;
    return () -> cancelled++;
  }

  void push() {
    stream.message(WatchAccessTokenResponse.newBuilder().setToken(token()).build());
  }

  /** A refusal as the broker sends it. */
  static StatusRuntimeException refusal(Status.Code code, Reason reason, Duration retry, Map<String, String> metadata) {
    com.google.rpc.Status.Builder s = com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage("what to do")
        .addDetails(Any.pack(ErrorInfo.newBuilder().setDomain("holdfast").setReason(reason.name()).putAllMetadata(metadata).build()));
    if (retry != null) {
      s.addDetails(Any.pack(RetryInfo.newBuilder()
          .setRetryDelay(com.google.protobuf.Duration.newBuilder().setSeconds(retry.getSeconds()).setNanos(retry.getNano())).build()));
    }
    return StatusProto.toStatusRuntimeException(s.build());
  }
}
