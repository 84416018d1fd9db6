package io.github.holdfast.client;

import io.github.holdfast.v1.GetAccessTokenRequest;
import io.grpc.CallCredentials;
import java.net.URI;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;
import java.util.concurrent.Future;
import java.util.concurrent.SubmissionPublisher;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Hands out access tokens of one grant from a cache that it keeps fresh; see the package's comment.
 * Safe for use by several threads. Make one per grant, and per site if several are used, and keep
 * it; it ends with its client.
 */
public final class TokenSource {
  /** Events that a subscriber may lag behind before it loses some. */
  private static final int BUFFER = 16;

  private final String name;
  private final Timing timing;
  private final Executor executor;
  private final TokenCache cache;
  private final SubmissionPublisher<TokenEvent> events;
  private final Watcher watcher; // null: not watched

  TokenSource(HoldfastClient client, String name, GetAccessTokenRequest request, boolean watch) {
    this.name = name;
    this.timing = client.timing();
    this.executor = client.executor();
    this.cache = new TokenCache(client.broker(), client.timing(), client.executor(), request, client.timeout());
    this.events = new SubmissionPublisher<>(client.executor(), BUFFER);
    this.watcher = watch
        ? new Watcher(client.broker(), client.timing(), cache, request, HoldfastClient.SILENCE, e -> tell(events, e))
        : null;
  }

  /** What comes while the client closes has no hearer any more. */
  static void tell(SubmissionPublisher<TokenEvent> events, TokenEvent e) {
    try {
      events.offer(e, null);
    } catch (IllegalStateException closed) {
      return; // between a look at it and the offer
    }
  }

  void start() {
    if (watcher != null) {
      watcher.start();
    }
  }

  void close() {
    if (watcher != null) {
      watcher.close();
    }
    cache.close();
    events.close();
  }

  /**
   * Returns a token that is valid now. It blocks only if there is none in the cache, no longer than
   * the client's timeout.
   *
   * @return the token
   * @throws HoldfastException why there is none
   * @throws InterruptedException if the thread is interrupted while it waits
   */
  public AccessToken get() throws HoldfastException, InterruptedException {
    AccessToken t = cache.fresh();
    return t != null ? t : get(null);
  }

  /**
   * Returns a token as {@link #get()} does, waiting no longer than the caller's deadline. A call to
   * the broker that it began goes on.
   *
   * @param deadline the most time to wait; null: the client's timeout alone bounds the call
   * @return the token
   * @throws HoldfastException why there is none; {@link DeadlineExceededException} if the deadline ended
   * @throws InterruptedException if the thread is interrupted while it waits
   */
  public AccessToken get(Duration deadline) throws HoldfastException, InterruptedException {
    AccessToken t = cache.fresh();
    if (t != null) {
      return t;
    }
    Pending p = cache.pending();
    try {
      return deadline == null ? p.token().get() : p.token().get(Outcomes.nanos(deadline), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      return cache.patience().atDeadline(p, deadline);
    } catch (ExecutionException e) {
      throw Refusal.of(e.getCause()).here();
    }
  }

  /**
   * Returns a token as {@link #get()} does, without blocking. What depends on the result may run on
   * a thread of the client, and must not block it for long.
   *
   * @return completes with the token, or with a {@link HoldfastException}, within the client's timeout
   */
  public CompletableFuture<AccessToken> getAsync() {
    AccessToken t = cache.fresh();
    return t != null ? CompletableFuture.completedFuture(t) : getAsync(null);
  }

  /**
   * Returns a token as {@link #getAsync()} does, waiting no longer than the caller's deadline. A call
   * to the broker that it began goes on.
   *
   * @param deadline the most time to wait; null: the client's timeout alone bounds the call
   * @return completes with the token or with a {@link HoldfastException}, {@link DeadlineExceededException}
   *     if the deadline ended
   */
  public CompletableFuture<AccessToken> getAsync(Duration deadline) {
    AccessToken t = cache.fresh();
    if (t != null) {
      return CompletableFuture.completedFuture(t);
    }
    Pending p = cache.pending();
    return deadline == null ? p.token().copy() : cache.patience().within(deadline, p);
  }

  /**
   * Tells the broker that an API refused a token with 401, once for each generation, and waits for
   * a token of a later one. For HTTP clients that have no integration here.
   *
   * @param refused the token
   * @param httpStatus what the API answered, 400 to 599
   * @return completes with a newer token to repeat the request with, once; empty if there is none: the
   *     API's answer then stands. Never completes with an exception
   */
  public CompletableFuture<Optional<AccessToken>> rejected(AccessToken refused, int httpStatus) {
    return cache.newer(refused.generation(), httpStatus).handle((t, e) -> Optional.ofNullable(e == null ? t : null));
  }

  /** The same, empty also once that time is over. */
  CompletableFuture<Optional<AccessToken>> rejected(AccessToken refused, int httpStatus, Duration atMost) {
    CompletableFuture<Optional<AccessToken>> newer = rejected(refused, httpStatus);
    Future<?> patience = timing.after(atMost, () -> executor.execute(() -> newer.complete(Optional.empty())));
    return newer.whenComplete((t, e) -> patience.cancel(false));
  }

  /**
   * Resolves a path such as {@code /rest/api/3/myself} under the site's API base URL. It blocks as
   * {@link #get()} does.
   *
   * @param path a path, maybe with a query
   * @return the full URL
   * @throws HoldfastException why there is no token, whose answer names the base URL
   * @throws InterruptedException if the thread is interrupted while it waits
   * @throws IllegalArgumentException if the path leaves the site's API, or the grant does not have
   *     exactly one site and none was chosen
   */
  public URI resolve(String path) throws HoldfastException, InterruptedException {
    return Origins.resolve(get().apiBaseUrl(), path);
  }

  /**
   * Returns credentials that send the token with your own gRPC calls, over TLS only and to the
   * named authorities only.
   *
   * @param authorities hosts, each maybe with a port, e.g. {@code gateway.internal:443}
   * @return credentials for any number of calls
   */
  public CallCredentials callCredentials(String... authorities) {
    return new TokenCallCredentials(this, List.of(authorities));
  }

  /**
   * Returns what happens to the watched token from the subscription on. A subscriber that falls behind by more than a few
   * events misses some: take them as hints and ask the source. Completes when the client is closed.
   *
   * @return events; none ever if the source is not watched
   */
  public Flow.Publisher<TokenEvent> events() {
    return events;
  }

  /** Names the grant; never shows a token. */
  @Override
  public String toString() {
    return "TokenSource[" + name + "]";
  }

  /** Narrows what a source asks for. Not for use by several threads. */
  public static final class Builder {
    private final HoldfastClient client;
    private final String grant;
    private final GetAccessTokenRequest.Builder request;
    private boolean watch;
    private Flow.Subscriber<? super TokenEvent> subscriber; // null: none

    Builder(HoldfastClient client, String grant) {
      this.client = client;
      this.grant = grant;
      this.request = GetAccessTokenRequest.newBuilder().setGrant(Grants.selector(grant));
    }

    /**
     * Chooses the site whose API base the tokens name. Default: the grant's only site, if it has
     * exactly one.
     *
     * @param site a cloud id or the site's URL
     * @return this
     */
    public Builder site(String site) {
      request.setSite(site);
      return this;
    }

    /**
     * Names scopes that every token must have. Default: any token will do.
     *
     * @param scopes the scopes
     * @return this
     */
    public Builder scopes(String... scopes) {
      request.clearRequiredScopes().addAllRequiredScopes(List.of(scopes));
      return this;
    }

    /**
     * Sets how long a token must still be valid when the broker hands it out. Default: 0.
     *
     * @param ttl at most the provider's access grace, 10 minutes at Atlassian
     * @return this
     */
    public Builder minTtl(Duration ttl) {
      request.setMinTtl(com.google.protobuf.Duration.newBuilder().setSeconds(ttl.getSeconds()).setNanos(ttl.getNano()));
      return this;
    }

    /**
     * Sets what the audit record shows. Default: none.
     *
     * @param purpose 1 to 64 of the characters a-z 0-9 . _ -
     * @return this
     */
    public Builder purpose(String purpose) {
      request.setPurpose(purpose);
      return this;
    }

    /**
     * Keeps the cache by a stream of the broker's: newer tokens come before the old ones end, and
     * a revocation within a second. While the stream is broken the source asks as it would without.
     * Default: no stream.
     *
     * @return this
     */
    public Builder watch() {
      watch = true;
      return this;
    }

    /**
     * Watches as {@link #watch()} does, and tells a subscriber of everything from the first token on;
     * see {@link TokenSource#events}.
     *
     * @param subscriber hears of what happens, on a thread of the client
     * @return this
     */
    public Builder watch(Flow.Subscriber<? super TokenEvent> subscriber) {
      this.subscriber = subscriber;
      return watch();
    }

    /**
     * Makes the source. It makes no call to the broker, but for a watched one, whose stream it opens
     * in the background.
     *
     * @return the source
     * @throws IllegalStateException if the client is closed
     */
    public TokenSource build() {
      TokenSource source = new TokenSource(client, grant, request.build(), watch);
      if (subscriber != null) {
        source.events.subscribe(subscriber);
      }
      return client.add(source);
    }
  }
}
