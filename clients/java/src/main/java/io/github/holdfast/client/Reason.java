package io.github.holdfast.client;

/**
 * Why there is no token: the broker's own reasons, as the contract names them, and a few of this
 * client. A newer broker may have reasons that this client does not know: they are
 * {@link #UNRECOGNIZED}, and {@link HoldfastException#reasonName()} and
 * {@link HoldfastException#code()} say more.
 */
public enum Reason {
  /** There is no such grant, or the policy hides it. Fix the key. */
  GRANT_NOT_FOUND(false),
  /** No valid client certificate or bearer token. Ask an operator. */
  CALLER_UNAUTHENTICATED(false),
  /** The policy does not let this caller do it. Ask an operator. */
  CALLER_NOT_ALLOWED(false),
  /** Send a person to the link. */
  CONSENT_REQUIRED(false),
  /** The grant does not reach the site. Ask for a new consent. */
  SITE_NOT_GRANTED(false),
  /** Several sites match. Name one. */
  SITE_AMBIGUOUS(false),
  /** The token lacks scopes. Ask for a new consent. */
  SCOPE_NOT_GRANTED(false),
  /** An operator ended the grant. Stop. */
  GRANT_REVOKED(false),
  /** The grant may be a copy. Stop and tell an operator. */
  GRANT_QUARANTINED(false),
  /** The grant's app is misconfigured or paused. Tell an operator. */
  APP_PAUSED(false),
  /** Retry later. */
  PROVIDER_UNAVAILABLE(true),
  /** Retry later; the refresh goes on. */
  REFRESH_IN_PROGRESS(true),
  /** Retry later. */
  STORE_UNAVAILABLE(true),
  /** Retry later. */
  KEY_UNAVAILABLE(true),
  /** Retry later. */
  AUDIT_UNAVAILABLE(true),
  /** Retry later. */
  PROVIDER_RATE_LIMITED(true),
  /** Retry later, and ask less often. */
  CALLER_RATE_LIMITED(true),
  /** Fix the named field. */
  INVALID_REQUEST(false),
  /** Report the request id. */
  INTERNAL(true),
  /** A stream ended in good order; the client opens another one by itself. */
  STREAM_ENDED(true),
  /** The client's own: the broker did not answer, or what answered is no broker. Retry later. */
  UNREACHABLE(true),
  /** The client's own: the caller's deadline ended first. */
  DEADLINE_EXCEEDED(true),
  /** The client's own: it is closed. */
  CLOSED(false),
  /** The client's own: the token may not go to that origin. */
  REFUSED_ORIGIN(false),
  /** A reason that this version does not know. */
  UNRECOGNIZED(false);

  private final boolean temporary;

  Reason(boolean temporary) {
    this.temporary = temporary;
  }

  /** Whether a later call may succeed without anybody acting. */
  boolean temporary() {
    return temporary;
  }

  static Reason named(String name) {
    for (Reason r : values()) {
      if (r.name().equals(name)) {
        return r;
      }
    }
    return UNRECOGNIZED;
  }
}
