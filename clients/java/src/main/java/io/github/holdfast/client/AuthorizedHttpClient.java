package io.github.holdfast.client;

import java.io.IOException;
import java.net.Authenticator;
import java.net.CookieHandler;
import java.net.ProxySelector;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;

/**
 * An {@link HttpClient} that sends each request with a source's access token. Safe for use by
 * several threads; closing the source's client ends it.
 *
 * <p>The token goes to allowed origins only; a request to any other is refused with a
 * {@link RefusedOriginException}. Redirects are followed here rather than by the client below, which
 * would take the header along: one to another origin, allowed or not, goes without the token, and so
 * does all that it leads to, back as well. A 401 of theirs is the answer, and says nothing about the
 * token.
 *
 * <p>When the API answers 401, the token's generation is reported to the broker, once, and if that
 * brings a newer token the request is sent a second time, once, provided that its body can be
 * repeated: see {@link RepeatableBody}. In every other case the 401 is the answer.
 *
 * <p>A request waits for a token, and after a 401 for a newer one, no longer than its own timeout, or
 * the source's client's. Pushed
 * responses are declined. Responses show the request without the token.
 */
public final class AuthorizedHttpClient extends HttpClient {
  private final TokenSource source;
  private final HttpClient base;
  private final Origins origins;
  private final Redirect redirects;
  private final Set<Class<?>> kept = RepeatableBody.kept();

  private AuthorizedHttpClient(Builder b) {
    this.source = b.source;
    this.base = b.base != null ? b.base : HttpClient.newHttpClient();
    this.origins = Origins.of(b.origins);
    this.redirects = b.redirects;
  }

  /**
   * Returns a client that sends the source's tokens to the origin of the API base URL.
   *
   * @param source of the tokens
   * @return the client, over a new {@link HttpClient}
   */
  public static AuthorizedHttpClient of(TokenSource source) {
    return builder(source).build();
  }

  /**
   * Begins a client that sends the source's tokens.
   *
   * @param source of the tokens
   * @return a builder
   */
  public static Builder builder(TokenSource source) {
    return new Builder(source);
  }

  /** How to send. Not for use by several threads. */
  public static final class Builder {
    private final TokenSource source;
    private HttpClient base;
    private List<String> origins = List.of();
    private Redirect redirects = Redirect.NORMAL;

    private Builder(TokenSource source) {
      this.source = source;
    }

    /**
     * Sets the client that sends the requests. It must neither follow redirects nor have an
     * authenticator. Default: a new one.
     *
     * @param base the client
     * @return this
     * @throws IllegalArgumentException if it would take the token elsewhere or answer a 401 itself
     */
    public Builder base(HttpClient base) {
      if (base.followRedirects() != Redirect.NEVER) {
        throw new IllegalArgumentException(
            "holdfast: the base client follows redirects and would take the token along; leave that to AuthorizedHttpClient.Builder.followRedirects");
      }
      if (base.authenticator().isPresent()) {
        throw new IllegalArgumentException("holdfast: the base client has an authenticator, which would answer the 401 of a rejected token");
      }
      this.base = base;
      return this;
    }

    /**
     * Sets the origins that may see the token. Default: the origin of the API base URL that the
     * broker names for the site, and that one only.
     *
     * @param origins each as {@code scheme://host[:port]}
     * @return this
     */
    public Builder origins(String... origins) {
      this.origins = List.of(origins);
      return this;
    }

    /**
     * Sets which redirects are followed, five at most. Default: {@link Redirect#NORMAL}, all but from
     * https to http.
     *
     * @param redirects which
     * @return this
     */
    public Builder followRedirects(Redirect redirects) {
      this.redirects = redirects;
      return this;
    }

    /**
     * Makes the client.
     *
     * @return the client
     */
    public AuthorizedHttpClient build() {
      return new AuthorizedHttpClient(this);
    }
  }

  @Override
  public <T> HttpResponse<T> send(HttpRequest request, HttpResponse.BodyHandler<T> handler) throws IOException, InterruptedException {
    CompletableFuture<HttpResponse<T>> answer = sendAsync(request, handler);
    try {
      return answer.get();
    } catch (InterruptedException e) {
      answer.cancel(true);
      throw e;
    } catch (ExecutionException e) {
      Throwable cause = e.getCause();
      if (cause instanceof HoldfastException h) {
        throw h.here();
      }
      if (cause instanceof IOException io) {
        throw io;
      }
      if (cause instanceof RuntimeException r) {
        throw r;
      }
      throw new IOException(cause);
    }
  }

  @Override
  public <T> CompletableFuture<HttpResponse<T>> sendAsync(HttpRequest request, HttpResponse.BodyHandler<T> handler) {
    return new HttpExchange<>(this, request, handler).start();
  }

  /** Sends a request; pushed responses are declined, the handler is not asked. */
  @Override
  public <T> CompletableFuture<HttpResponse<T>> sendAsync(
      HttpRequest request, HttpResponse.BodyHandler<T> handler, HttpResponse.PushPromiseHandler<T> pushPromiseHandler) {
    return sendAsync(request, handler);
  }

  TokenSource source() {
    return source;
  }

  HttpClient base() {
    return base;
  }

  Origins origins() {
    return origins;
  }

  boolean repeatable(HttpRequest request) {
    return RepeatableBody.repeatable(request, kept);
  }

  @Override
  public Redirect followRedirects() {
    return redirects;
  }

  @Override
  public Optional<CookieHandler> cookieHandler() {
    return base.cookieHandler();
  }

  @Override
  public Optional<Duration> connectTimeout() {
    return base.connectTimeout();
  }

  @Override
  public Optional<ProxySelector> proxy() {
    return base.proxy();
  }

  @Override
  public SSLContext sslContext() {
    return base.sslContext();
  }

  @Override
  public SSLParameters sslParameters() {
    return base.sslParameters();
  }

  @Override
  public Optional<Authenticator> authenticator() {
    return base.authenticator();
  }

  @Override
  public Version version() {
    return base.version();
  }

  @Override
  public Optional<Executor> executor() {
    return base.executor();
  }

  /** Names the source; never shows a token. */
  @Override
  public String toString() {
    return "AuthorizedHttpClient[" + source + "]";
  }
}
