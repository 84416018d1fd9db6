package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.github.holdfast.client.testing.FakeBroker;
import io.github.holdfast.v1.TokenServiceGrpc;
import io.grpc.Attributes;
import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.SecurityLevel;
import io.grpc.Status;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class TokenCallCredentialsTest {
  private final FakeBroker broker = FakeBroker.start();
  private final HoldfastClient client = broker.client();
  private final TokenSource source = client.tokenSource("acme/automation/jira").build();
  private final CallCredentials credentials = source.callCredentials("gateway.internal", "Other.internal:8443");

  @AfterEach
  void stop() {
    client.close();
    broker.close();
  }

  /** The header of a call, or the code that it fails with. */
  private String call(String authority, SecurityLevel level) throws Exception {
    CompletableFuture<String> result = new CompletableFuture<>();
    credentials.applyRequestMetadata(new CallCredentials.RequestInfo() {
      @Override
      public MethodDescriptor<?, ?> getMethodDescriptor() {
        return TokenServiceGrpc.getGetAccessTokenMethod();
      }

      @Override
      public SecurityLevel getSecurityLevel() {
        return level;
      }

      @Override
      public String getAuthority() {
        return authority;
      }

      @Override
      public Attributes getTransportAttrs() {
        return Attributes.EMPTY;
      }
    }, Runnable::run, new CallCredentials.MetadataApplier() {
      @Override
      public void apply(Metadata headers) {
        result.complete(headers.get(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER)));
      }

      @Override
      public void fail(Status status) {
        result.complete(status.getCode().name());
      }
    });
    return result.get();
  }

  @Test
  void theTokenGoesToTheNamedAuthoritiesOverTlsOnly() throws Exception {
    assertEquals("UNAUTHENTICATED", call("gateway.internal", SecurityLevel.NONE));
    assertEquals("UNAUTHENTICATED", call("gateway.internal", SecurityLevel.INTEGRITY));
    assertEquals("UNAUTHENTICATED", call("evil.internal", SecurityLevel.PRIVACY_AND_INTEGRITY));
    assertEquals("UNAUTHENTICATED", call("gateway.internal:444", SecurityLevel.PRIVACY_AND_INTEGRITY));
    assertEquals(0, broker.calls());
    assertEquals("Bearer fake-token-1", call("GATEWAY.internal:443", SecurityLevel.PRIVACY_AND_INTEGRITY));
    assertEquals("Bearer fake-token-1", call("other.internal:8443", SecurityLevel.PRIVACY_AND_INTEGRITY));
  }

  @Test
  void whyThereIsNoTokenIsTheStatusOfTheCall() throws Exception {
    broker.refuse(Reason.GRANT_REVOKED, Map.of());
    assertEquals("UNAUTHENTICATED", call("gateway.internal", SecurityLevel.PRIVACY_AND_INTEGRITY));
    broker.refuse(Reason.STORE_UNAVAILABLE, Map.of());
    assertEquals("UNAVAILABLE", call("gateway.internal", SecurityLevel.PRIVACY_AND_INTEGRITY));
  }

  @Test
  void somebodyMustBeNamed() {
    assertThrows(IllegalArgumentException.class, source::callCredentials);
  }
}
