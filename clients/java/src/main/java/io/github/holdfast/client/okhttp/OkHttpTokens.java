package io.github.holdfast.client.okhttp;

import io.github.holdfast.client.AccessToken;
import io.github.holdfast.client.Origins;
import io.github.holdfast.client.TokenSource;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import okhttp3.Authenticator;
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
 * follows a redirect to another host.
 *
 * <p>When the API answers 401, the token's generation is reported to the broker, once, and if that
 * brings a newer token the request is sent a second time, once, unless its body says
 * {@code isOneShot}. In every other case the 401 is the answer. Waiting for a token ends with the
 * call's own timeout.
 */
public final class OkHttpTokens implements Interceptor, Authenticator {
  private static final String AUTHORIZATION = "Authorization";

  /** For a call without a timeout: the source's client's own bounds the wait. */
  private static final long UNBOUNDED = TimeUnit.DAYS.toNanos(365);

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
    long nanos = chain.call().timeout().timeoutNanos();
    long began = System.nanoTime();
    try {
      AccessToken token = source.get(nanos == 0 ? null : Duration.ofNanos(nanos));
      Request request = chain.request();
      if (!origins.allow(request.url().uri(), token)) {
        throw origins.refusal(request.url().uri(), token);
      }
      return chain.proceed(with(request, new Sent(token, began, nanos == 0 ? UNBOUNDED : nanos)));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while waiting for a token");
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
      Optional<AccessToken> newer = source.rejected(refused.token, response.code()).get(left, TimeUnit.NANOSECONDS);
      // The new token may be one for another site: a new consent can change that.
      return newer.filter(token -> origins.allow(request.url().uri(), token))
          .map(token -> with(request, new Sent(token, refused.began, refused.atMost))).orElse(null);
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

  /** Which token a request's header holds, when the call began, and its timeout in nanoseconds. */
  private record Sent(AccessToken token, long began, long atMost) {}

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
