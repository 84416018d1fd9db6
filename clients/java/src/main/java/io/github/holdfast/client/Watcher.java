package io.github.holdfast.client;

import io.github.holdfast.v1.GetAccessTokenRequest;
import io.github.holdfast.v1.WatchAccessTokenRequest;
import io.github.holdfast.v1.WatchAccessTokenResponse;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.function.Consumer;

/**
 * Keeps one stream open that brings a source its tokens, and opens another when it breaks. While
 * there is none the cache asks by itself.
 */
final class Watcher {
  /** Between attempts to open a stream: doubles from the first to the most. */
  static final Duration FIRST_DELAY = Duration.ofSeconds(1);

  static final Duration MAX_DELAY = Duration.ofMinutes(1);

  /** Longer than the broker lets a stream last, which is an hour; it ends them in good order. */
  static final Duration LONGEST = Duration.ofMinutes(70);

  private final Broker broker;
  private final Timing timing;
  private final TokenCache cache;
  private final GetAccessTokenRequest request;
  private final Consumer<TokenEvent> events;
  private final Duration silence;

  // All below are guarded by this.
  private boolean closed;
  private int failures;
  private Runnable cancel = () -> {};
  private Future<?> reopening = CompletableFuture.completedFuture(null);

  /**
   * A watcher that opens its stream at start.
   *
   * @param silence the longest time that passes before a dead connection is noticed
   */
  Watcher(Broker broker, Timing timing, TokenCache cache, GetAccessTokenRequest request, Duration silence, Consumer<TokenEvent> events) {
    this.broker = broker;
    this.timing = timing;
    this.cache = cache;
    this.request = request.toBuilder().clearMinTtl().build();
    this.silence = silence;
    this.events = events;
  }

  void start() {
    GetAccessTokenRequest asked = request.toBuilder().setIfNotGeneration(cache.generation()).build();
    Stream stream = new Stream();
    Runnable end = broker.watch(WatchAccessTokenRequest.newBuilder().setToken(asked).build(), LONGEST, stream);
    synchronized (this) {
      if (!closed) {
        cancel = end;
        return;
      }
    }
    end.run();
  }

  /** One stream; gRPC calls it from one thread at a time. */
  private final class Stream implements Broker.Sink {
    private boolean over;

    @Override
    public void opened() {
      cache.streaming(true, Duration.ZERO);
    }

    @Override
    public void message(WatchAccessTokenResponse m) {
      cache.streaming(true, Duration.ZERO);
      synchronized (Watcher.this) {
        failures = 0;
      }
      switch (m.getEventCase()) {
        case TOKEN -> renewed(m);
        case UNAVAILABLE -> unavailable(Refusal.of(m.getUnavailable()));
        default -> { } // of a newer contract
      }
    }

    @Override
    public void ended(Throwable why) {
      if (over) {
        return;
      }
      over = true;
      cache.streaming(false, silence);
      HoldfastException e = Refusal.of(why);
      if (!closed() && !e.isTemporary() && !renewable(e) && e.reason() != Reason.UNRECOGNIZED) {
        unavailable(e);
      }
      reopen(e);
    }
  }

  /** A credential that has ended may have a successor, which the next call shows. */
  private static boolean renewable(HoldfastException e) {
    return e.reason() == Reason.CALLER_UNAUTHENTICATED;
  }

  private void renewed(WatchAccessTokenResponse m) {
    try {
      AccessToken t = AccessToken.of(m.getToken(), timing.nanos(), timing.wallMillis());
      cache.brought(t);
      events.accept(new TokenEvent.Renewed(t));
    } catch (HoldfastException e) {
      events.accept(new TokenEvent.Unavailable(e));
    }
  }

  private void unavailable(HoldfastException e) {
    cache.refused(e);
    events.accept(new TokenEvent.Unavailable(e));
  }

  private synchronized void reopen(HoldfastException e) {
    if (closed) {
      return;
    }
    reopening = timing.after(delay(e), () -> {
      if (!closed()) {
        start();
      }
    });
  }

  /** Doubles with each stream that brought nothing, is no less than the broker names, and is spread so that not all come back at once. */
  private Duration delay(HoldfastException e) {
    Duration d = Outcomes.longer(FIRST_DELAY.multipliedBy(1L << Math.min(failures, 6)), e.retryAfter());
    failures++;
    return timing.spread(Outcomes.shorter(d, MAX_DELAY));
  }

  private synchronized boolean closed() {
    return closed;
  }

  void close() {
    Runnable end;
    synchronized (this) {
      closed = true;
      reopening.cancel(false);
      end = cancel;
    }
    end.run();
  }
}
