package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.holdfast.client.testing.FakeBroker;
import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RefusalTest {
  private static HoldfastException thrown(Status.Code code, String reason, Map<String, String> metadata) {
    com.google.rpc.Status.Builder s = com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage("what to do")
        .addDetails(com.google.protobuf.Any.pack(com.google.rpc.ErrorInfo.newBuilder()
            .setDomain("holdfast").setReason(reason).putAllMetadata(metadata).build()));
    return Refusal.of(io.grpc.protobuf.StatusProto.toStatusRuntimeException(s.build()));
  }

  /** A wrong certificate, address or CA: gRPC says "io exception" to each, which helps nobody. */
  @Test
  void theTransportsOwnWordsAreInTheMessage() {
    Throwable cause = new java.io.IOException("outer", new java.net.ConnectException("Connection refused: /127.0.0.1:1"));
    String message = Refusal.of(Status.UNAVAILABLE.withDescription("io exception").withCause(cause).asRuntimeException()).getMessage();
    assertTrue(message.contains("UNREACHABLE: io exception: Connection refused: /127.0.0.1:1"), message);
  }

  private static String trace(Throwable e) {
    java.io.StringWriter text = new java.io.StringWriter();
    e.printStackTrace(new java.io.PrintWriter(text));
    return text.toString();
  }

  @Test
  void aStackTraceSaysOnceWhatToDoAndTheCauseIsTheStatus() throws Exception {
    HoldfastException e = thrown(Status.Code.FAILED_PRECONDITION, "CONSENT_REQUIRED", Map.of());
    for (HoldfastException one : List.of(e, e.here(), e.here().here())) {
      assertEquals(2, trace(one).split("what to do", -1).length, trace(one));
      assertEquals(Status.Code.FAILED_PRECONDITION, assertInstanceOf(io.grpc.StatusRuntimeException.class, one.getCause()).getStatus().getCode());
      assertEquals("what to do", io.grpc.protobuf.StatusProto.fromThrowable(one).getMessage());
    }
    try (FakeBroker broker = FakeBroker.start(); HoldfastClient client = broker.client()) {
      broker.refuse(Reason.GRANT_REVOKED, Map.of());
      GrantRevokedException revoked = assertThrows(GrantRevokedException.class, client.tokenSource("acme/automation/jira").build()::get);
      assertEquals(2, trace(revoked).split("refused by the fake broker", -1).length, trace(revoked));
    }
  }

  @Test
  void whyTheTransportFailedIsInTheCause() {
    Throwable cause = new java.net.ConnectException("Connection refused");
    HoldfastException e = Refusal.of(Status.UNAVAILABLE.withDescription("io exception").withCause(cause).asRuntimeException());
    assertEquals(cause, e.getCause().getCause());
    assertEquals("UNAVAILABLE", e.getCause().getMessage());
  }

  @ParameterizedTest
  @CsvSource({
    "GRANT_NOT_FOUND, NOT_FOUND, GrantNotFoundException, false",
    "CALLER_UNAUTHENTICATED, UNAUTHENTICATED, CallerUnauthenticatedException, false",
    "CALLER_NOT_ALLOWED, PERMISSION_DENIED, CallerNotAllowedException, false",
    "CONSENT_REQUIRED, FAILED_PRECONDITION, ConsentRequiredException, false",
    "SITE_NOT_GRANTED, FAILED_PRECONDITION, SiteNotGrantedException, false",
    "SITE_AMBIGUOUS, FAILED_PRECONDITION, SiteAmbiguousException, false",
    "SCOPE_NOT_GRANTED, FAILED_PRECONDITION, ScopeNotGrantedException, false",
    "GRANT_REVOKED, FAILED_PRECONDITION, GrantRevokedException, false",
    "GRANT_QUARANTINED, FAILED_PRECONDITION, GrantQuarantinedException, false",
    "APP_PAUSED, FAILED_PRECONDITION, AppPausedException, false",
    "PROVIDER_UNAVAILABLE, UNAVAILABLE, BrokerUnavailableException, true",
    "REFRESH_IN_PROGRESS, UNAVAILABLE, BrokerUnavailableException, true",
    "STORE_UNAVAILABLE, UNAVAILABLE, BrokerUnavailableException, true",
    "KEY_UNAVAILABLE, UNAVAILABLE, BrokerUnavailableException, true",
    "AUDIT_UNAVAILABLE, UNAVAILABLE, BrokerUnavailableException, true",
    "PROVIDER_RATE_LIMITED, RESOURCE_EXHAUSTED, BrokerUnavailableException, true",
    "CALLER_RATE_LIMITED, RESOURCE_EXHAUSTED, BrokerUnavailableException, true",
    "INVALID_REQUEST, INVALID_ARGUMENT, InvalidRequestException, false",
    "INTERNAL, INTERNAL, BrokerUnavailableException, true",
    "STREAM_ENDED, UNAVAILABLE, BrokerUnavailableException, true",
    "NEW_IN_2030, UNAVAILABLE, BrokerUnavailableException, true",
    "NEW_AND_FINAL, FAILED_PRECONDITION, HoldfastException, false",
  })
  void eachReasonHasItsException(String reason, Status.Code code, String type, boolean temporary) {
    HoldfastException e = thrown(code, reason, Map.of("request_id", "r-1"));
    assertEquals(type + " " + reason + " " + code + " " + temporary,
        e.getClass().getSimpleName() + " " + e.reasonName() + " " + e.code() + " " + e.isTemporary());
    assertEquals("holdfast: " + reason + ": what to do (request r-1)", e.getMessage());
    assertEquals("r-1", e.requestId());
  }

  @Test
  void everyReasonOfTheContractHasAName() {
    for (io.github.holdfast.v1.ErrorReason r : io.github.holdfast.v1.ErrorReason.values()) {
      if (r != io.github.holdfast.v1.ErrorReason.UNRECOGNIZED && r.getNumber() != 0) {
        assertFalse(Reason.named(r.name().replace("ERROR_REASON_", "")) == Reason.UNRECOGNIZED, "no name for " + r);
      }
    }
  }

  @Test
  void exceptionsCarryWhatAProgramActsOn() {
    Map<String, String> about = Map.of("link", "https://h.example.com/c?x=1", "why", "REFUSED", "sites", "a (1), b (2)", "missing", "read:x write:y");
    assertEquals("https://h.example.com/c?x=1",
        ((ConsentRequiredException) thrown(Status.Code.FAILED_PRECONDITION, "CONSENT_REQUIRED", about)).link().orElseThrow().toString());
    ScopeNotGrantedException scope = (ScopeNotGrantedException) thrown(Status.Code.FAILED_PRECONDITION, "SCOPE_NOT_GRANTED", about);
    assertEquals(List.of("read:x", "write:y"), scope.missing());
    assertTrue(scope.link().isPresent());
    assertEquals("a (1), b (2)", ((SiteAmbiguousException) thrown(Status.Code.FAILED_PRECONDITION, "SITE_AMBIGUOUS", about)).sites());
    SiteNotGrantedException site = (SiteNotGrantedException) thrown(Status.Code.FAILED_PRECONDITION, "SITE_NOT_GRANTED", Map.of());
    assertEquals("", site.sites());
    assertEquals(Optional.empty(), site.link());
  }

  @Test
  void whatIsNoBrokersIsUnreachable() {
    HoldfastException e = Refusal.of(Status.NOT_FOUND.withDescription("some proxy").asRuntimeException());
    assertInstanceOf(BrokerUnavailableException.class, e);
    assertEquals(Reason.UNREACHABLE, e.reason());
    HoldfastException timed = Refusal.of(VirtualBroker.refusal(Status.Code.UNAVAILABLE, Reason.KEY_UNAVAILABLE, Duration.ofMillis(1500), Map.of()));
    assertEquals(Duration.ofMillis(1500), timed.retryAfter());
  }
}
