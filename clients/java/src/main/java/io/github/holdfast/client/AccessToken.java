package io.github.holdfast.client;

import com.google.protobuf.Timestamp;
import io.github.holdfast.v1.GetAccessTokenResponse;
import io.grpc.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.List;

/**
 * An access token of one grant, and what to know about it. Immutable. {@link #toString} does not
 * show it; {@link #value} does: send it, do not keep or log it.
 */
public final class AccessToken {
  /**
   * The least time between two background calls for one token, also if the broker says that a
   * refresh is overdue: it tries by itself.
   */
  static final Duration MIN_INTERVAL = Duration.ofSeconds(5);

  private final GetAccessTokenResponse answer;
  private final String value;
  private final long generation;
  private final String apiBaseUrl;
  private final String grantId;
  private final List<String> scopes;
  private final Instant expiresAt;

  private final long sentNanos;
  private final long sentWallMillis;

  // Times as ages in nanoseconds: counted from the sending of the request rather than from the
  // answer, so that they err on the early side by at most the call's round trip, and taken from
  // the broker's server_time, so that a wrong local clock does not matter.

  /** From here on the client asks again in the background. */
  final long softAge;

  /** From here on the provider may refuse the token. */
  final long guaranteedAge;

  /** From here on the provider surely refuses it. */
  final long expiryAge;

  private AccessToken(GetAccessTokenResponse a, long sentNanos, long sentWallMillis, long soft, long guaranteed, long expiry) {
    this.answer = a;
    this.value = a.getAccessToken();
    this.generation = a.getGeneration();
    this.apiBaseUrl = a.getApiBaseUrl();
    this.grantId = a.getGrantId();
    this.scopes = List.copyOf(a.getScopesList());
    this.expiresAt = Instant.ofEpochMilli(sentWallMillis).plusNanos(expiry);
    this.sentNanos = sentNanos;
    this.sentWallMillis = sentWallMillis;
    this.softAge = soft;
    this.guaranteedAge = guaranteed;
    this.expiryAge = expiry;
  }

  /** The token of an answer to a request that was sent at these times. */
  static AccessToken of(GetAccessTokenResponse a, long sentNanos, long sentWallMillis) throws HoldfastException {
    if (a.getAccessToken().isEmpty() || !a.hasExpiresAt() || !a.hasServerTime()) {
      throw Refusal.own(Reason.INTERNAL, Status.Code.OK,
          "the broker's answer lacks the token, its expiry or the time of the answer; report this").thrown(null);
    }
    Timestamp server = a.getServerTime();
    long expiry = between(server, a.getExpiresAt());
    long guaranteed = a.hasGuaranteedUntil() ? Math.min(expiry, between(server, a.getGuaranteedUntil())) : expiry;
    long soft = a.hasRefreshAfter() ? between(server, a.getRefreshAfter()) : guaranteed;
    if (soft >= guaranteed) {
      soft = guaranteed / 4 * 3; // early enough that nobody ever has to wait for the answer
    }
    soft = Math.min(Math.max(soft, MIN_INTERVAL.toNanos()), guaranteed);
    return new AccessToken(a, sentNanos, sentWallMillis, soft, guaranteed, expiry);
  }

  /** Nanoseconds from one time to the other, at most a year: what is further away is as good as never. */
  private static long between(Timestamp from, Timestamp to) {
    Duration d = Duration.ofSeconds(to.getSeconds() - from.getSeconds(), (long) to.getNanos() - from.getNanos());
    return d.isNegative() ? 0 : Outcomes.nanos(d);
  }

  /**
   * The age by the clock that ran further: a suspended machine stops the monotonic clock, and
   * somebody may set the wall clock. A call too many does no harm.
   */
  long age(Timing timing) {
    long monotonic = timing.nanos() - sentNanos;
    long wall = (timing.wallMillis() - sentWallMillis) * 1_000_000L;
    return Math.max(monotonic, wall);
  }

  /**
   * The same token, known to have been the newest until this age: what counted from the answer
   * counts from there, up to the expiry.
   */
  AccessToken vouchedFor(long age) {
    long more = Math.max(0, age);
    return new AccessToken(answer, sentNanos, sentWallMillis,
        Math.min(softAge + more, expiryAge), Math.min(guaranteedAge + more, expiryAge), expiryAge);
  }

  /**
   * Returns the token itself, a secret.
   *
   * @return what stands behind {@code Bearer} in an Authorization header
   */
  public String value() {
    return value;
  }

  /**
   * Returns the token's generation, which grows with each rotation of the grant.
   *
   * @return the generation, 1 or more
   */
  public long generation() {
    return generation;
  }

  /**
   * Returns the base URL of the product's API for the site.
   *
   * @return the URL without a trailing slash; empty if the grant has no site or several and none
   *     was chosen
   */
  public String apiBaseUrl() {
    return apiBaseUrl;
  }

  /**
   * Returns the stable id of the grant.
   *
   * @return the id, {@code grt_} and 26 characters
   */
  public String grantId() {
    return grantId;
  }

  /**
   * Returns the scopes of the token.
   *
   * @return the scopes, as the provider returned them
   */
  public List<String> scopes() {
    return scopes;
  }

  /**
   * Returns when the provider lets the token expire, translated to the local clock. The client
   * itself goes by ages and does not need that clock to be right.
   *
   * @return the time, early by at most one round trip to the broker
   */
  public Instant expiresAt() {
    return expiresAt;
  }

  /** Reports whether other is an older one; a grant that was purged and made again counts from 1 again, under another id. */
  boolean newerThan(AccessToken other) {
    return grantId.equals(other.grantId) && generation > other.generation;
  }

  /** Names the generation; never shows the token. */
  @Override
  public String toString() {
    return "AccessToken[generation=" + generation + ", expiresAt=" + expiresAt + "]";
  }
}
