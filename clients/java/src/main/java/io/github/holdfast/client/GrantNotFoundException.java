package io.github.holdfast.client;

/** There is no such grant, or the policy hides it from this caller. Fix the key; do not retry. */
public final class GrantNotFoundException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  GrantNotFoundException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }
}
