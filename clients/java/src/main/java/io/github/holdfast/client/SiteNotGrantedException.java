package io.github.holdfast.client;

import java.net.URI;
import java.util.Optional;

/** The grant does not reach the site asked for: ask for a new consent that includes it. Do not retry. */
public final class SiteNotGrantedException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  SiteNotGrantedException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }

  /**
   * Returns the sites that the grant reaches, for people.
   *
   * @return one text for all; may be empty
   */
  public String sites() {
    return refusal().of("sites");
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
