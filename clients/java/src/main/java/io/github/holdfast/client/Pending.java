package io.github.holdfast.client;

import java.util.concurrent.CompletableFuture;

/**
 * What a caller gets or waits for.
 *
 * @param fallback what it gets if it cannot wait; null: nothing
 * @param token what it waits for, which may be there
 */
record Pending(AccessToken fallback, CompletableFuture<AccessToken> token) {
  static Pending of(AccessToken t) {
    return new Pending(t, CompletableFuture.completedFuture(t));
  }
}
