package io.github.holdfast.client;

/** The caller's own deadline ended before there was a token. The call to the broker goes on for others. */
public final class DeadlineExceededException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  DeadlineExceededException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }
}
