package io.github.holdfast.client;

import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.SecurityLevel;
import io.grpc.Status;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Executor;
import java.util.function.LongSupplier;

/**
 * Shows the bearer token in a file with each call to the broker, such as a Kubernetes projected
 * service-account token. The file is read again when it may have changed; one that is just being
 * replaced does not end the token that was in it.
 */
final class TokenFileCredentials extends CallCredentials {
  /**
   * The least time between two looks at the file. Orchestrators replace it long before the old token
   * ends: Kubernetes does when a fifth of its life is left.
   */
  static final Duration INTERVAL = Duration.ofSeconds(5);

  private static final Metadata.Key<String> AUTHORIZATION = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final Path file;
  private final LongSupplier nanos;

  // Both are guarded by this.
  private String header;
  private long looked;

  TokenFileCredentials(Path file, LongSupplier nanos) throws IOException {
    this.file = file;
    this.nanos = nanos;
    this.header = read(file);
    this.looked = nanos.getAsLong();
  }

  synchronized String header() {
    long now = nanos.getAsLong();
    if (now - looked >= INTERVAL.toNanos()) {
      try {
        header = read(file);
        looked = now;
      } catch (IOException e) {
        return header; // the next call looks again
      }
    }
    return header;
  }

  private static String read(Path file) throws IOException {
    String text = new String(Pem.bytes(file), StandardCharsets.UTF_8).strip();
    if (text.isEmpty() || !text.chars().allMatch(c -> c > ' ' && c < 0x7f)) {
      throw new IOException("holdfast: reading the caller's token: " + file + " does not hold one token");
    }
    return "Bearer " + text;
  }

  @Override
  public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
    if (call.getSecurityLevel() != SecurityLevel.PRIVACY_AND_INTEGRITY) {
      applier.fail(Status.UNAUTHENTICATED.withDescription("holdfast: refusing to show the caller's token without TLS"));
      return;
    }
    executor.execute(() -> {
      Metadata headers = new Metadata();
      headers.put(AUTHORIZATION, header());
      applier.apply(headers);
    });
  }
}
