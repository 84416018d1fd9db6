package io.github.holdfast.client;

/** The client refuses to send the token there: the origin is not among those that may see it. */
public final class RefusedOriginException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  RefusedOriginException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }
}
