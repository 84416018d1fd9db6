package io.github.holdfast.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.github.holdfast.v1.BatchError;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;

/** What is known of a refusal, however it came; {@link #thrown} makes the typed exception of it. */
record Refusal(
    Reason reason,
    String reasonName,
    Status.Code code,
    String message,
    Duration retryAfter,
    Map<String, String> metadata,
    String field) {

  /** Marks an ErrorInfo as the broker's. */
  private static final String DOMAIN = "holdfast";

  /** A reason that this client found by itself. */
  static Refusal own(Reason reason, Status.Code code, String message) {
    return new Refusal(reason, reason.name(), code, message, Duration.ZERO, Map.of(), "");
  }

  /** The exception for a call that failed with t, a gRPC status or anything else. */
  static HoldfastException of(Throwable t) {
    if (t instanceof HoldfastException already) {
      return already;
    }
    return of(t, null);
  }

  /** The same for a call on its way to the broker; null: one that its caller knows. */
  static HoldfastException of(Throwable t, Way way) {
    Refusal said = read(t);
    if (way == null || said.reason != Reason.UNREACHABLE) {
      return said.thrown(wordless(t));
    }
    Optional<String> meaning = way.meaning(Status.fromThrowable(t));
    return meaning.map(m -> said.saying(m + " (gRPC: " + said.message + ")")).orElse(said).thrown(wordless(t));
  }

  /** The status without its text, which a stack trace would show a second time; all else is kept. */
  private static Throwable wordless(Throwable t) {
    if (!(t instanceof StatusRuntimeException s)) {
      return t;
    }
    StatusRuntimeException plain = s.getStatus().withDescription(null).asRuntimeException(s.getTrailers());
    plain.setStackTrace(s.getStackTrace());
    return plain;
  }

  private static Refusal read(Throwable t) {
    Status status = Status.fromThrowable(t);
    // Its first line: below that grpc-java names the parts of its own that the call went through.
    String description = status.getDescription() == null ? "the call failed" : status.getDescription().lines().findFirst().orElse("");
    Refusal r = own(Reason.UNREACHABLE, status.getCode(), description + innermost(status.getCause()));
    com.google.rpc.Status details = StatusProto.fromThrowable(t);
    if (details == null) {
      return r;
    }
    for (Any detail : details.getDetailsList()) {
      r = r.with(detail);
    }
    return r;
  }

  /** What the transport says itself: gRPC's own description is "io exception" for all of it. */
  private static String innermost(Throwable cause) {
    Throwable last = cause;
    for (int depth = 0; last != null && last.getCause() != null && depth < 20; depth++) {
      last = last.getCause();
    }
    return last == null || last.getMessage() == null ? "" : ": " + last.getMessage();
  }

  private Refusal with(Any detail) {
    try {
      if (detail.is(ErrorInfo.class)) {
        ErrorInfo info = detail.unpack(ErrorInfo.class);
        return info.getDomain().equals(DOMAIN) ? named(info.getReason(), info.getMetadataMap()) : this;
      }
      if (detail.is(RetryInfo.class)) {
        return new Refusal(reason, reasonName, code, message, time(detail.unpack(RetryInfo.class).getRetryDelay()), metadata, field);
      }
      if (detail.is(BadRequest.class)) {
        BadRequest bad = detail.unpack(BadRequest.class);
        String first = bad.getFieldViolationsCount() == 0 ? "" : bad.getFieldViolations(0).getField();
        return new Refusal(reason, reasonName, code, message, retryAfter, metadata, first);
      }
    } catch (InvalidProtocolBufferException e) {
      return this; // what cannot be read says nothing; the code still does
    }
    return this;
  }

  private Refusal saying(String words) {
    return new Refusal(reason, reasonName, code, words, retryAfter, metadata, field);
  }

  private Refusal named(String name, Map<String, String> about) {
    return new Refusal(Reason.named(name), name, code, message, retryAfter, Map.copyOf(about), field);
  }

  /** What a watched grant's message says. */
  static HoldfastException of(BatchError e) {
    String name = e.getReason().name();
    if (name.startsWith("ERROR_REASON_")) {
      name = name.substring("ERROR_REASON_".length());
    }
    Duration after = e.hasRetryAfter() ? time(e.getRetryAfter()) : Duration.ZERO;
    // There was no failed call; but one that passes, of a reason that this version does not know, is not final.
    Status.Code code = e.hasRetryAfter() ? Status.Code.UNAVAILABLE : Status.Code.OK;
    Refusal r = new Refusal(Reason.named(name), name, code, e.getMessage(), after, Map.copyOf(e.getMetadataMap()), e.getField());
    return r.thrown(null);
  }

  private static Duration time(com.google.protobuf.Duration d) {
    Duration t = Duration.ofSeconds(d.getSeconds(), d.getNanos());
    return t.isNegative() ? Duration.ZERO : t;
  }

  HoldfastException thrown(Throwable cause) {
    return switch (reason) {
      case GRANT_NOT_FOUND -> new GrantNotFoundException(this, cause);
      case CALLER_UNAUTHENTICATED -> new CallerUnauthenticatedException(this, cause);
      case CALLER_NOT_ALLOWED -> new CallerNotAllowedException(this, cause);
      case CONSENT_REQUIRED -> new ConsentRequiredException(this, cause);
      case SITE_NOT_GRANTED -> new SiteNotGrantedException(this, cause);
      case SITE_AMBIGUOUS -> new SiteAmbiguousException(this, cause);
      case SCOPE_NOT_GRANTED -> new ScopeNotGrantedException(this, cause);
      case GRANT_REVOKED -> new GrantRevokedException(this, cause);
      case GRANT_QUARANTINED -> new GrantQuarantinedException(this, cause);
      case APP_PAUSED -> new AppPausedException(this, cause);
      case INVALID_REQUEST -> new InvalidRequestException(this, cause);
      case CLOSED -> new ClientClosedException(this, cause);
      case DEADLINE_EXCEEDED -> new DeadlineExceededException(this, cause);
      case REFUSED_ORIGIN -> new RefusedOriginException(this, cause);
      case UNRECOGNIZED -> temporary() ? new BrokerUnavailableException(this, cause) : new HoldfastException(this, cause);
      default -> new BrokerUnavailableException(this, cause);
    };
  }

  /** Unknown reasons are judged by their code. */
  boolean temporary() {
    if (reason != Reason.UNRECOGNIZED) {
      return reason.temporary();
    }
    return switch (code) {
      case UNAVAILABLE, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN, CANCELLED -> true;
      default -> false;
    };
  }

  String of(String key) {
    return metadata.getOrDefault(key, "");
  }

  String text() {
    String id = of("request_id");
    return "holdfast: " + reasonName + ": " + message + (id.isEmpty() ? "" : " (request " + id + ")");
  }
}
