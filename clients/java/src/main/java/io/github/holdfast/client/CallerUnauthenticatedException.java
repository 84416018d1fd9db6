package io.github.holdfast.client;

/** The broker does not know this caller: its certificate or token is missing, ended or not vouched for. */
public final class CallerUnauthenticatedException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  CallerUnauthenticatedException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }
}
