package io.github.holdfast.client;

import io.github.holdfast.v1.GetAccessTokenRequest;
import io.github.holdfast.v1.GetAccessTokenResponse;
import io.github.holdfast.v1.ReportRejectedTokenRequest;
import io.github.holdfast.v1.TokenVerdict;
import io.github.holdfast.v1.WatchAccessTokenRequest;
import io.github.holdfast.v1.WatchAccessTokenResponse;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;

/**
 * What the cache needs of the connection to a broker. No method blocks; failures are gRPC's own
 * exceptions.
 */
interface Broker {
  CompletableFuture<GetAccessTokenResponse> get(GetAccessTokenRequest request, Duration deadline);

  CompletableFuture<TokenVerdict> report(ReportRejectedTokenRequest request, Duration deadline);

  /**
   * Opens a stream, for at most so long; the sink hears of its messages and, once, of its end.
   * Running the result ends it.
   */
  Runnable watch(WatchAccessTokenRequest request, Duration atMost, Sink sink);

  /** Hears what comes of a stream, one call at a time. */
  interface Sink {
    /** The broker has taken the stream on. */
    void opened();

    void message(WatchAccessTokenResponse message);

    void ended(Throwable why);
  }
}
