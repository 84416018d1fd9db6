package io.github.holdfast.client;

/** The grant or its store may be a copy, so nothing is spent. Stop and tell an operator. */
public final class GrantQuarantinedException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  GrantQuarantinedException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }
}
