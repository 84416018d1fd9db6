package io.github.holdfast.client;

import java.time.Duration;
import java.util.Comparator;
import java.util.PriorityQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;

/** Time that passes when a test says so. */
final class ManualTiming implements Timing {
  private record Task(long at, long order, Runnable run, CompletableFuture<Void> handle) {}

  private final PriorityQueue<Task> tasks = new PriorityQueue<>(Comparator.comparingLong(Task::at).thenComparingLong(Task::order));
  private long nanos = 5_000_000_000_000L;
  private long wallShiftMillis;
  private long order;
  double random;

  @Override
  public long nanos() {
    return nanos;
  }

  @Override
  public long wallMillis() {
    return 1_800_000_000_000L + nanos / 1_000_000 + wallShiftMillis;
  }

  /** Somebody sets the wall clock, or the machine was suspended for so long. */
  void shiftWall(Duration by) {
    wallShiftMillis += by.toMillis();
  }

  @Override
  public Future<?> after(Duration delay, Runnable task) {
    CompletableFuture<Void> handle = new CompletableFuture<>();
    tasks.add(new Task(nanos + delay.toNanos(), order++, task, handle));
    return handle;
  }

  @Override
  public double random() {
    return random;
  }

  /** Lets time pass, and what is due in it happen at its time. */
  void pass(Duration d) {
    long end = nanos + d.toNanos();
    while (!tasks.isEmpty() && tasks.peek().at <= end) {
      Task t = tasks.poll();
      nanos = Math.max(nanos, t.at);
      if (!t.handle.isCancelled()) {
        t.run.run();
      }
    }
    nanos = end;
  }

  /** The tasks still to come. */
  long waiting() {
    return tasks.stream().filter(t -> !t.handle.isCancelled()).count();
  }
}
