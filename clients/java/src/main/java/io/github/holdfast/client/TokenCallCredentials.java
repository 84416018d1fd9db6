package io.github.holdfast.client;

import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.SecurityLevel;
import io.grpc.Status;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Executor;

/** Sends a source's token with gRPC calls to the named authorities. */
final class TokenCallCredentials extends CallCredentials {
  private static final Metadata.Key<String> AUTHORIZATION = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final TokenSource source;
  private final List<String> authorities;

  TokenCallCredentials(TokenSource source, List<String> authorities) {
    if (authorities.isEmpty()) {
      throw new IllegalArgumentException("holdfast: name the authorities that may see the token, e.g. \"gateway.internal:443\"");
    }
    this.source = source;
    this.authorities = authorities.stream().map(TokenCallCredentials::full).toList();
  }

  private static String full(String authority) {
    String a = authority.toLowerCase(Locale.ROOT);
    return a.matches(".*:[0-9]+") ? a : a + ":443";
  }

  @Override
  public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
    if (call.getSecurityLevel() != SecurityLevel.PRIVACY_AND_INTEGRITY) {
      applier.fail(Status.UNAUTHENTICATED.withDescription("holdfast: refusing to send the token without TLS"));
      return;
    }
    if (!authorities.contains(full(call.getAuthority()))) {
      applier.fail(Status.UNAUTHENTICATED.withDescription(
          "holdfast: refusing to send the token to " + call.getAuthority() + ": allowed are " + String.join(", ", authorities)));
      return;
    }
    source.getAsync().whenComplete((t, e) -> {
      if (e == null) {
        Metadata headers = new Metadata();
        headers.put(AUTHORIZATION, "Bearer " + t.value());
        applier.apply(headers);
      } else {
        HoldfastException h = Refusal.of(Outcomes.cause(e));
        Status status = h.isTemporary() ? Status.UNAVAILABLE : Status.UNAUTHENTICATED;
        applier.fail(status.withDescription(h.getMessage()).withCause(h));
      }
    });
  }
}
