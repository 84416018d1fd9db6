package io.github.holdfast.client;

import java.net.URI;
import java.util.Optional;

/** The grant has no live token family: send a person to {@link #link()}. Do not retry. */
public final class ConsentRequiredException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  ConsentRequiredException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
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

  /**
   * Returns why the consent ended, a short word such as {@code REFUSED}.
   *
   * @return the word; may be empty
   */
  public String why() {
    return refusal().of("why");
  }
}
