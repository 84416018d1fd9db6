package io.github.holdfast.client;

/** The policy does not let this caller do it. Ask an operator; do not retry. */
public final class CallerNotAllowedException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  CallerNotAllowedException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }
}
