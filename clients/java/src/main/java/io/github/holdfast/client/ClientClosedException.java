package io.github.holdfast.client;

/** The client is closed; so is everything that was made from it. */
public final class ClientClosedException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  ClientClosedException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }
}
