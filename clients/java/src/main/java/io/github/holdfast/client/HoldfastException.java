package io.github.holdfast.client;

import io.grpc.Status;
import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * Why there is no token, as a typed exception for each reason that a program acts on. It is an
 * {@link IOException}, so that it passes through the HTTP clients' own signatures as it is. Its
 * message is for people and never holds a token.
 */
public class HoldfastException extends IOException {
  private static final long serialVersionUID = 1L;

  /** Not kept by serialization: what acts on a refusal runs where it was thrown. */
  private final transient Refusal refusal;

  HoldfastException(Refusal refusal, Throwable cause) {
    super(refusal.text(), cause);
    this.refusal = refusal;
  }

  /**
   * Returns the reason.
   *
   * @return the reason, {@link Reason#UNRECOGNIZED} if this version has no name for it
   */
  public Reason reason() {
    return refusal.reason();
  }

  /**
   * Returns the reason as the broker wrote it, e.g. {@code CONSENT_REQUIRED}.
   *
   * @return the reason's name, of one that this version does not know also
   */
  public String reasonName() {
    return refusal.reasonName();
  }

  /**
   * Returns the gRPC code of the call.
   *
   * @return the code; {@code OK} if there was no call
   */
  public Status.Code code() {
    return refusal.code();
  }

  /**
   * Returns the least time to wait before a retry, which the client itself observes.
   *
   * @return the time; zero if a retry is no cure or the broker named none
   */
  public Duration retryAfter() {
    return refusal.retryAfter();
  }

  /**
   * Returns the id by which the call is found in the broker's log and audit record.
   *
   * @return the id; empty if no broker answered
   */
  public String requestId() {
    return refusal.of("request_id");
  }

  /**
   * Reports whether a later call may succeed without anybody acting.
   *
   * @return true if a retry may help
   */
  public boolean isTemporary() {
    return refusal.temporary();
  }

  /**
   * Returns the same for the present thread, to be thrown by one who waited for a future: all that
   * wait share one exception, whose stack trace says nothing about theirs.
   *
   * @return a new exception with the same reason, message and cause
   */
  public final HoldfastException here() {
    return refusal.thrown(getCause());
  }

  final Refusal refusal() {
    return refusal;
  }

  /** The connect page, if the broker named one that is a URL. */
  final Optional<URI> page() {
    String link = refusal.of("link");
    try {
      return link.isEmpty() ? Optional.empty() : Optional.of(new URI(link));
    } catch (URISyntaxException e) {
      return Optional.empty();
    }
  }

  /** The words of a metadata entry that lists several, separated by spaces or commas. */
  final List<String> words(String key) {
    return List.of(refusal.of(key).trim().split("[ ,]+")).stream().filter(w -> !w.isEmpty()).toList();
  }
}
