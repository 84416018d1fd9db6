package io.github.holdfast.client;

import java.net.URI;
import java.util.List;
import java.util.Optional;

/** The token lacks a required scope: ask for a new consent with it. Do not retry. */
public final class ScopeNotGrantedException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  ScopeNotGrantedException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }

  /**
   * Returns the scopes that the token lacks.
   *
   * @return the missing scopes
   */
  public List<String> missing() {
    return words("missing");
  }

  /**
   * Returns the connect page to send a person to. The link is signed and ends after a while: do
   * not keep it.
   *
   * @return the page, if the broker has one
   */
  public Optional<URI> link() {
    return page();
  }
}
