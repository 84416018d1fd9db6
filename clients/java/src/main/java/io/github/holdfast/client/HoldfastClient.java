package io.github.holdfast.client;

import io.grpc.Channel;
import io.grpc.ManagedChannel;
import java.time.Clock;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * A connection to a broker. Safe for use by several threads; make one per process, and close it at
 * its end.
 */
public final class HoldfastClient implements AutoCloseable {
  /**
   * Bounds one call to the broker, the broker's own refresh included, unless the builder says
   * otherwise. It exceeds the 30 s that a refresh at the provider may take.
   */
  public static final Duration DEFAULT_TIMEOUT = Duration.ofSeconds(40);

  /** A connection with a call on it is asked for a sign of life this often, and given up after that. */
  static final Duration PING_EVERY = Duration.ofSeconds(20);

  static final Duration PING_TIMEOUT = Duration.ofSeconds(10);

  /** How long a connection may be dead unnoticed. */
  static final Duration SILENCE = PING_EVERY.plus(PING_TIMEOUT);

  /** How long close waits for what it has told to end. */
  private static final Duration LAST_WAIT = Duration.ofSeconds(5);

  private static final long IDLE_SECONDS = 5;

  private final Channel channel;
  private final ManagedChannel owned; // null: the channel is the caller's
  private final Duration timeout;
  private final ThreadPoolExecutor executor;
  private final ScheduledThreadPoolExecutor timer;
  private final Timing timing;
  private final GrpcBroker broker;

  private final Set<TokenSource> sources = ConcurrentHashMap.newKeySet();
  private final Object closing = new Object();
  private boolean closed; // guarded by closing

  /** A client over a channel; connection is what that channel goes by, null: it is the caller's. */
  HoldfastClient(ThreadPoolExecutor executor, Channel channel, Connection connection, Duration timeout, Clock wall) {
    this.channel = channel;
    this.owned = connection == null ? null : connection.channel();
    this.timeout = timeout;
    this.executor = executor;
    this.timer = new ScheduledThreadPoolExecutor(1, new Daemons("holdfast-timer"));
    this.timer.setRemoveOnCancelPolicy(true);
    this.timer.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    this.timing = new SystemTiming(wall, timer);
    this.broker = new GrpcBroker(channel, connection, executor);
  }

  /**
   * Begins a client of the broker at a target.
   *
   * @param target host:port, or any target of grpc-java
   * @return a builder, which needs an identity
   */
  public static HoldfastClientBuilder builder(String target) {
    return new HoldfastClientBuilder(target, null);
  }

  /**
   * Begins a client over a channel that the caller owns, makes safe and closes.
   *
   * @param channel leads to the broker
   * @return a builder, which takes no identity
   */
  public static HoldfastClientBuilder builder(Channel channel) {
    return new HoldfastClientBuilder(null, channel);
  }

  static ThreadPoolExecutor workers() {
    return new ThreadPoolExecutor(0, Integer.MAX_VALUE, IDLE_SECONDS, TimeUnit.SECONDS, new SynchronousQueue<>(), new Daemons("holdfast-client"));
  }

  /** Whether one of the pool's threads runs this. */
  private static boolean within(ThreadPoolExecutor pool) {
    return pool.getThreadFactory() instanceof Daemons d && d.current();
  }

  /**
   * Begins a source of tokens of one grant.
   *
   * @param grant its id, or its address tenant/subject/product[/name]
   * @return a builder of the source
   * @throws IllegalArgumentException if the grant does not parse
   */
  public TokenSource.Builder tokenSource(String grant) {
    return new TokenSource.Builder(this, grant);
  }

  /**
   * Returns the channel to the broker, with this client's identity, for the generated stubs in
   * {@code io.github.holdfast.v1}, e.g. of ConsentService. Give each call a deadline.
   *
   * @return the channel, which closes with the client
   */
  public Channel channel() {
    return channel;
  }

  GrpcBroker broker() {
    return broker;
  }

  Timing timing() {
    return timing;
  }

  ThreadPoolExecutor executor() {
    return executor;
  }

  Duration timeout() {
    return timeout;
  }

  TokenSource add(TokenSource s) {
    synchronized (closing) {
      if (closed) {
        throw new IllegalStateException("holdfast: the client is closed");
      }
      sources.add(s);
    }
    s.start();
    return s;
  }

  /**
   * Cancels all calls under way, waits until no thread of this client is left, 5 s for each kind at
   * most, and closes the connection. Later calls throw {@link ClientClosedException}. Closing twice
   * does nothing. Called on one of this client's own threads, e.g. by what depends on
   * {@link TokenSource#getAsync()}, it waits for nothing: that thread would wait for itself.
   */
  @Override
  public void close() {
    synchronized (closing) {
      if (closed) {
        return;
      }
      closed = true;
    }
    sources.forEach(TokenSource::close);
    timer.shutdown();
    if (within(executor) || within(timer)) {
      // The workers bring waiting callers their answers, and must last until all have them.
      new Daemons("holdfast-close").newThread(this::finish).start();
    } else {
      finish();
    }
  }

  /** Waits for what was told to end, and ends what serves that. */
  private void finish() {
    boolean interrupted = false;
    try {
      broker.close(LAST_WAIT);
      if (owned != null) {
        owned.shutdownNow();
        owned.awaitTermination(LAST_WAIT.toMillis(), TimeUnit.MILLISECONDS);
      }
      timer.awaitTermination(LAST_WAIT.toMillis(), TimeUnit.MILLISECONDS);
      executor.shutdown(); // only now: it brings the waiting callers their answers
      executor.awaitTermination(LAST_WAIT.toMillis(), TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      interrupted = true;
    }
    executor.shutdown();
    if (owned != null) {
      owned.shutdownNow();
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
