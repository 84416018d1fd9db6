package io.github.holdfast.client;

/** The site asked for matches several: name one by its cloud id. */
public final class SiteAmbiguousException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  SiteAmbiguousException(Refusal refusal, Throwable cause) {
    super(refusal, cause);
  }

  /**
   * Returns the sites that match, for people.
   *
   * @return one text for all; may be empty
   */
  public String sites() {
    return refusal().of("sites");
  }
}
