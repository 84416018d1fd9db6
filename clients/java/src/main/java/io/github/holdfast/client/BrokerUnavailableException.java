package io.github.holdfast.client;

/**
 * No token for now, and nobody needs to act: the broker cannot be reached, or something that it
 * needs. Retry after {@link #retryAfter()}.
 */
public final class BrokerUnavailableException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  BrokerUnavailableException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }
}
