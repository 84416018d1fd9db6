package io.github.holdfast.client;

import java.time.Duration;
import java.util.concurrent.Future;

/** The clocks and the timer that a client goes by, so that tests can bring their own. */
interface Timing {
  /** Time that never goes back, in nanoseconds; only differences mean something. */
  long nanos();

  /** The wall clock in milliseconds, which somebody may set. */
  long wallMillis();

  /** Runs a task that does not block after a delay; cancelling the result forgets it. */
  Future<?> after(Duration delay, Runnable task);

  /** A random number from 0 to 1. */
  double random();

  /** Lengthens a delay by up to half, so that many clients do not come back at once. */
  default Duration spread(Duration d) {
    return d.plusNanos((long) (d.toNanos() / 2.0 * random()));
  }
}
