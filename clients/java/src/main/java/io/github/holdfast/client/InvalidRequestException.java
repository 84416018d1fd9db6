package io.github.holdfast.client;

/** A field of the request breaks its rule. Fix it; do not retry. */
public final class InvalidRequestException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  InvalidRequestException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }

  /**
   * Returns the field that breaks its rule.
   *
   * @return the field's name; may be empty
   */
  public String field() {
    return refusal().field();
  }
}
