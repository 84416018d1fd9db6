package io.github.holdfast.client;

import java.time.Clock;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** The machine's clocks and a client's own timer. */
final class SystemTiming implements Timing {
  private final Clock wall;
  private final ScheduledExecutorService timer;

  SystemTiming(Clock wall, ScheduledExecutorService timer) {
    this.wall = wall;
    this.timer = timer;
  }

  @Override
  public long nanos() {
    return System.nanoTime();
  }

  @Override
  public long wallMillis() {
    return wall.millis();
  }

  @Override
  public Future<?> after(Duration delay, Runnable task) {
    try {
      return timer.schedule(task, Outcomes.nanos(delay), TimeUnit.NANOSECONDS);
    } catch (RejectedExecutionException e) {
      return CompletableFuture.completedFuture(null); // closed: nothing is to happen any more
    }
  }

  @Override
  public double random() {
    return ThreadLocalRandom.current().nextDouble();
  }
}
