package io.github.holdfast.client;

import io.github.holdfast.v1.GetAccessTokenRequest;
import io.github.holdfast.v1.ReportRejectedTokenRequest;
import io.github.holdfast.v1.TokenVerdict;
import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executor;
import java.util.concurrent.Future;

/**
 * The cache of one source: keeps one token, asks the broker at most once at a time, and decides
 * who waits. It never blocks, and calls nobody while it holds its lock.
 */
final class TokenCache {
  /** Between a failed background call and the next, if the broker names no longer time, and the most it may name. */
  static final Duration RETRY_DELAY = Duration.ofSeconds(1);

  static final Duration MAX_RETRY_DELAY = Duration.ofMinutes(1);

  /** Between looks at a refresh that is under way, if the broker names no longer time. */
  static final Duration PROGRESS_DELAY = Duration.ofMillis(100);

  /** The least time before a report that brought no verdict is repeated. */
  static final Duration UNVERIFIED_DELAY = Duration.ofMinutes(1);

  private static final long NEVER = Long.MAX_VALUE;

  private final Broker broker;
  private final Timing timing;
  private final Executor executor;
  private final GetAccessTokenRequest request;
  private final Duration timeout;
  private final Patience patience;

  private final Object lock = new Object();

  /** Written under the lock; null: none that may be handed out. */
  private volatile AccessToken current;

  /** A stream stands, so that the current token need not be asked for; written under the lock. */
  private volatile boolean streaming;

  private volatile boolean closed; // written under the lock

  // All below are guarded by the lock.
  private Flight flight;

  /** Refused generation: the present one must be newer. */
  private long refused;

  /** The generation last reported, and when it may be reported once more. */
  private long reported;

  private long reportAgain = NEVER;

  /** No call before heldUntil while failure is set, which is the answer if there is no token. */
  private HoldfastException failure;

  private long heldUntil;

  TokenCache(Broker broker, Timing timing, Executor executor, GetAccessTokenRequest request, Duration timeout) {
    this.broker = broker;
    this.timing = timing;
    this.executor = executor;
    this.request = request;
    this.timeout = timeout;
    this.patience = new Patience(timing, executor);
  }

  /** A token to hand out at once, without a lock; null: {@link #pending} knows more. */
  AccessToken fresh() {
    AccessToken t = current;
    return t != null && t.age(timing) < (streaming ? t.expiryAge : t.softAge) ? t : null;
  }

  /** How long those wait who got something that is pending. */
  Patience patience() {
    return patience;
  }

  /** What a caller gets, or waits for; starts a call if one is due. */
  Pending pending() {
    AccessToken t;
    Flight f;
    Flight start = null;
    boolean wait;
    synchronized (lock) {
      if (closed) {
        return new Pending(null, CompletableFuture.failedFuture(Outcomes.closed()));
      }
      t = live();
      long age = t == null ? 0 : t.age(timing);
      if (t != null && age < (streaming ? t.expiryAge : t.softAge)) {
        return Pending.of(t);
      }
      wait = t == null || age >= t.guaranteedAge;
      if (flight == null && held()) {
        return t != null ? Pending.of(t) : new Pending(null, CompletableFuture.failedFuture(failure));
      }
      if (flight == null) {
        flight = start = new Flight(0, 0);
      }
      f = flight;
    }
    begin(start);
    if (!wait) {
      return Pending.of(t);
    }
    return new Pending(t, t == null ? patient(f) : patience.shortly(patient(f), t));
  }

  /** No call may be made now. The caller holds the lock. */
  private boolean held() {
    return failure != null && timing.nanos() - heldUntil < 0;
  }

  /** The current token, forgotten once it has expired. The caller holds the lock. */
  private AccessToken live() {
    if (current != null && current.age(timing) >= current.expiryAge) {
      current = null;
    }
    return current;
  }

  private CompletableFuture<AccessToken> patient(Flight f) {
    return f.done.handle((t, e) -> {
      if (e != null && Outcomes.cause(e) instanceof Outcomes.TokenAcceptedException) {
        return pending().token(); // that flight brought none to anybody
      }
      return e == null ? CompletableFuture.completedFuture(t) : CompletableFuture.<AccessToken>failedFuture(Outcomes.cause(e));
    }).thenCompose(next -> next);
  }

  /** Starts a flight that was entered under the lock; null: nothing. */
  private void begin(Flight f) {
    if (f == null) {
      return;
    }
    f.end = timing.nanos() + timeout.toNanos();
    CompletableFuture<AccessToken> told =
        f.rejected == 0 ? ask(f) : report(f).thenCompose(verdict -> ask(f));
    told.whenComplete((t, e) -> {
      AccessToken newest = settle(f, t, e == null ? null : Outcomes.cause(e));
      if (e == null) {
        f.done.complete(newest);
      } else {
        f.done.completeExceptionally(closed ? Outcomes.closed() : Outcomes.cause(e));
      }
    });
  }

  private CompletableFuture<AccessToken> ask(Flight f) {
    Duration left = left(f);
    GetAccessTokenRequest asked = request;
    synchronized (lock) {
      long avoid = Math.max(refused, f.rejected);
      if (avoid != 0) {
        asked = request.toBuilder().setIfNotGeneration(avoid).build();
      }
    }
    long sent = timing.nanos();
    long sentWall = timing.wallMillis();
    CompletableFuture<AccessToken> result = new CompletableFuture<>();
    broker.get(asked, left).whenComplete((answer, e) -> {
      if (e == null) {
        Outcomes.take(answer, sent, sentWall, result);
        return;
      }
      HoldfastException h = Refusal.of(Outcomes.cause(e));
      Duration pause = Outcomes.longer(h.retryAfter(), PROGRESS_DELAY);
      if (h.reason() == Reason.REFRESH_IN_PROGRESS && left(f).compareTo(pause) > 0) {
        timing.after(pause, () -> ask(f).whenComplete((t, again) -> {
          if (again == null) {
            result.complete(t);
          } else {
            result.completeExceptionally(Outcomes.cause(again));
          }
        }));
      } else {
        result.completeExceptionally(h);
      }
    });
    return result;
  }

  private Duration left(Flight f) {
    return Duration.ofNanos(Math.max(1, f.end - timing.nanos()));
  }

  /** Tells the broker of the rejected generation and notes its verdict. */
  private CompletableFuture<Void> report(Flight f) {
    ReportRejectedTokenRequest told = ReportRejectedTokenRequest.newBuilder()
        .setGrant(request.getGrant()).setGeneration(f.rejected).setHttpStatus(f.status).build();
    return broker.report(told, left(f)).handle((verdict, e) -> {
      synchronized (lock) {
        if (e != null) {
          reportAgain = timing.nanos(); // the broker did not hear of it
          throw new CompletionException(Refusal.of(Outcomes.cause(e)));
        }
        note(f, verdict);
      }
      if (verdict == TokenVerdict.TOKEN_VERDICT_TOKEN_ACCEPTED) {
        throw new CompletionException(new Outcomes.TokenAcceptedException());
      }
      return null;
    });
  }

  private void note(Flight f, TokenVerdict verdict) {
    switch (verdict) {
      case TOKEN_VERDICT_TOKEN_ACCEPTED -> { }
      case TOKEN_VERDICT_TOKEN_REJECTED, TOKEN_VERDICT_GENERATION_STALE -> {
        refused = f.rejected;
        if (current != null && current.generation() <= f.rejected) {
          current = null;
        }
      }
      default -> reportAgain = timing.nanos() + UNVERIFIED_DELAY.toNanos();
    }
  }

  /** Records how the flight ended; gives the token to hand out, which a stream may have made a newer one. */
  private AccessToken settle(Flight f, AccessToken t, Throwable e) {
    synchronized (lock) {
      flight = null;
      failure = null;
      if (e == null) {
        return f.overtaken ? t : adopt(t);
      }
      if (e instanceof HoldfastException h && h.isTemporary()) {
        hold(h);
      } else if (e instanceof HoldfastException) {
        current = null; // a refusal is about this grant or this caller: believe it
      }
      return null;
    }
  }

  /**
   * Holds off calls after a failure that passes. With nothing to hand out and no time named, the next
   * caller may try at once. The caller holds the lock.
   */
  private void hold(HoldfastException e) {
    if (current != null || !e.retryAfter().isZero()) {
      failure = e;
      heldUntil = timing.nanos() + timing.spread(Outcomes.shorter(Outcomes.longer(e.retryAfter(), RETRY_DELAY), MAX_RETRY_DELAY)).toNanos();
    }
  }

  /** Takes a token in, unless there is a newer one; gives the newer. The caller holds the lock. */
  private AccessToken adopt(AccessToken t) {
    AccessToken held = live();
    if (held != null && held.newerThan(t)) {
      return held;
    }
    if (!closed) {
      current = t;
      refused = t.generation() > refused ? 0 : refused;
    }
    return t;
  }

  /**
   * Called when an API answered the token of a generation with a 401: reports the generation,
   * once, and gives a token of a later one; null: there is none, or no call may be made now.
   */
  CompletableFuture<AccessToken> newer(long generation, int status) {
    Flight f;
    Flight start = null;
    synchronized (lock) {
      AccessToken held = live();
      if (held != null && held.generation() > generation) {
        return CompletableFuture.completedFuture(held);
      }
      f = flight;
      if (f == null) {
        boolean known = generation < reported
            || generation == reported && (reportAgain == NEVER || timing.nanos() - reportAgain < 0);
        if (closed || known || held()) {
          return CompletableFuture.completedFuture(null);
        }
        flight = f = start = new Flight(generation, status);
        reported = generation;
        reportAgain = NEVER;
      }
    }
    begin(start);
    boolean own = f.rejected == generation;
    return f.done.handle((t, e) -> {
      if (e == null && t.generation() > generation) {
        return CompletableFuture.completedFuture(t);
      }
      return own ? CompletableFuture.<AccessToken>completedFuture(null) : newer(generation, status);
    }).thenCompose(next -> next);
  }

  /** A stream brought a token. */
  void brought(AccessToken t) {
    synchronized (lock) {
      if (t.generation() > refused) {
        adopt(t);
        failure = null;
      }
    }
  }

  /** A stream brought a refusal: one that passes holds off calls, after any other nothing is to be handed out. */
  void refused(HoldfastException e) {
    synchronized (lock) {
      if (e.isTemporary()) {
        hold(e);
        return;
      }
      current = null;
      failure = null; // the next call asks why, whatever failed before
      if (flight != null) {
        flight.overtaken = true;
      }
    }
  }

  /**
   * Says whether a stream stands that would bring whatever is newer than the present token. When
   * it breaks, the times of the token count anew from the last sign of life.
   */
  void streaming(boolean stands, Duration sinceLastSign) {
    synchronized (lock) {
      if (!stands && streaming && current != null) {
        current = current.vouchedFor(current.age(timing) - sinceLastSign.toNanos());
      }
      streaming = stands;
    }
  }

  /** The generation of the present token; 0: there is none. */
  long generation() {
    AccessToken t = current;
    return t == null ? 0 : t.generation();
  }

  void close() {
    Flight f;
    synchronized (lock) {
      closed = true;
      current = null;
      f = flight;
    }
    if (f != null) {
      // The end of its call would end it too, but between two looks at a refresh there is no call.
      executor.execute(() -> f.done.completeExceptionally(Outcomes.closed()));
    }
  }
}
