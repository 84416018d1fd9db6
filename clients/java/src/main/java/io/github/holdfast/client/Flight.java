package io.github.holdfast.client;

import java.util.concurrent.CompletableFuture;

/** One question to the broker that any number of callers wait for. */
final class Flight {
  /** The rejected generation to report first; 0: none. */
  final long rejected;

  /** The HTTP status that it met. */
  final int status;

  /** Completed by the cache, after it has taken the outcome in. */
  final CompletableFuture<AccessToken> done = new CompletableFuture<>();

  /** A stream brought a final refusal meanwhile: the answer may be older. Guarded by the cache's lock. */
  boolean overtaken;

  /** The end of the client's patience, by {@link Timing#nanos}; all its calls share it. */
  long end;

  Flight(long rejected, int status) {
    this.rejected = rejected;
    this.status = status;
  }
}
