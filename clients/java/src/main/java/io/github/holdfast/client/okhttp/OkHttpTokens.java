package io.github.holdfast.client.okhttp;

import io.github.holdfast.client.AccessToken;
import io.github.holdfast.client.HoldfastException;
import io.github.holdfast.client.Origins;
import io.github.holdfast.client.TokenSource;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import okhttp3.Authenticator;
import okhttp3.Call;
import okhttp3.Interceptor;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.Route;

/**
 * Sends a source's access token with OkHttp's requests: as an application interceptor it sets the
 * header, as an authenticator it answers a 401. Install both with {@link #install}.
 *
 * <p>A request to an origin that may not see the token fails with a
 * {@link io.github.holdfast.client.RefusedOriginException}. OkHttp itself removes the header when it
 * follows a redirect to another origin, allowed or not, and does not bring it back. A 401 that comes
 * without it is the answer, and says nothing about the token.
 *
 * <p>When the API answers 401, the token's generation is reported to the broker, once, and if that
 * brings a newer token the request is sent a second time, once, unless its body says
 * {@code isOneShot}. In every other case the 401 is the answer. Waiting for a token ends with the
 * call's own timeout, and soon after the call was cancelled.
 */
public final class OkHttpTokens implements Interceptor, Authenticator {
  private static final String AUTHORIZATION = "Authorization";

  /** For a call without a timeout: the source's client's own bounds the wait. */
  private static final long UNBOUNDED = TimeUnit.DAYS.toNanos(365);

  /** How often one that waits looks whether its call was cancelled: OkHttp itself wakes nobody then. */
  private static final long LOOK = TimeUnit.MILLISECONDS.toNanos(100);

  private final TokenSource source;
  private final Origins origins;

  private OkHttpTokens(TokenSource source, Origins origins) {
    this.source = source;
    this.origins = origins;
  }

  /**
   * Makes a client send the source's tokens. It replaces the builder's authenticator.
   *
   * @param builder of the client
   * @param source of the tokens
   * @param origins that may see the token, each as {@code scheme://host[:port]}; none: the origin of
   *     the API base URL that the broker names for the site
   * @return the builder
   */
  public static OkHttpClient.Builder install(OkHttpClient.Builder builder, TokenSource source, String... origins) {
    OkHttpTokens tokens = new OkHttpTokens(source, Origins.of(List.of(origins)));
    return builder.addInterceptor(tokens).authenticator(tokens);
  }

  @Override
  public Response intercept(Interceptor.Chain chain) throws IOException {
    Call call = chain.call();
    long nanos = call.timeout().timeoutNanos();
    long began = System.nanoTime();
    try {
      // Its own deadline ends the wait, with the words for it.
      AccessToken token = await(call, source.getAsync(nanos == 0 ? null : Duration.ofNanos(nanos)), UNBOUNDED);
      Request request = chain.request();
      if (!origins.allow(request.url().uri(), token)) {
        throw origins.refusal(request.url().uri(), token);
      }
      return chain.proceed(with(request, new Sent(token, call, began, nanos == 0 ? UNBOUNDED : nanos)));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while waiting for a token");
    } catch (ExecutionException e) {
      throw e.getCause() instanceof HoldfastException h ? h.here() : new IOException(e.getCause());
    } catch (TimeoutException e) {
      throw new InterruptedIOException("timeout"); // after a year
    }
  }

  /** Waits for what the source brings, no longer than that many nanoseconds, nor than the call is wanted. */
  private static <T> T await(Call call, CompletableFuture<T> answer, long atMost)
      throws IOException, InterruptedException, ExecutionException, TimeoutException {
    long end = System.nanoTime() + atMost;
    while (true) {
      long left = end - System.nanoTime();
      try {
        return answer.get(Math.min(left, LOOK), TimeUnit.NANOSECONDS);
      } catch (TimeoutException e) {
        if (call.isCanceled()) {
          throw new IOException("Canceled"); // as OkHttp says it
        }
        if (left <= LOOK) {
          throw e;
        }
      }
    }
  }

  /** Called by OkHttp for a 401; null leaves it the answer. */
  @Override
  public Request authenticate(Route route, Response response) throws IOException {
    Request request = response.request();
    Sent refused = request.tag(Sent.class);
    boolean sent = refused != null && ("Bearer " + refused.token.value()).equals(request.header(AUTHORIZATION));
    if (!sent || repeated(response)) {
      return null; // the token was not what the API refused, or was not the first
    }
    try {
      long left = refused.began + refused.atMost - System.nanoTime();
      Optional<AccessToken> newer = await(refused.call, source.rejected(refused.token, response.code()), left);
      // The new token may be one for another site: a new consent can change that.
      return newer.filter(token -> origins.allow(request.url().uri(), token))
          .map(token -> with(request, new Sent(token, refused.call, refused.began, refused.atMost))).orElse(null);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while waiting for a newer token");
    } catch (ExecutionException | TimeoutException e) {
      return null;
    }
  }

  /** Whether one of the responses before this was a 401 too. */
  private static boolean repeated(Response response) {
    for (Response r = response.priorResponse(); r != null; r = r.priorResponse()) {
      if (r.code() == response.code()) {
        return true;
      }
    }
    return false;
  }

  /** Which token a request's header holds, for which call, when that began, and its timeout in nanoseconds. */
  private record Sent(AccessToken token, Call call, long began, long atMost) {}

  /** The tag says which token the header holds; it is not sent. */
  private static Request with(Request request, Sent sent) {
    return request.newBuilder().header(AUTHORIZATION, "Bearer " + sent.token.value()).tag(Sent.class, sent).build();
  }

  /** Names the source; never shows a token. */
  @Override
  public String toString() {
    return "OkHttpTokens[" + source + "]";
  }
}
