package io.github.holdfast.client;

/** The grant's app is misconfigured or paused. Tell an operator. */
public final class AppPausedException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  AppPausedException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }
}
