package io.github.holdfast.client;

/** An operator ended the grant. Stop: a new consent needs an operator to start it. */
public final class GrantRevokedException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  GrantRevokedException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }
}
