package io.github.holdfast.client;

/** One thing that happened to a watched token; see {@link TokenSource#events}. */
public sealed interface TokenEvent {
  /**
   * There is a newer token, which the source hands out from now on.
   *
   * @param token the token
   */
  record Renewed(AccessToken token) implements TokenEvent {}

  /**
   * The grant brings no new token for now. If the reason is not temporary, the source has dropped
   * the old one too, until somebody has acted.
   *
   * @param reason why
   */
  record Unavailable(HoldfastException reason) implements TokenEvent {}
}
