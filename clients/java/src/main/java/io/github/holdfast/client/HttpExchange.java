package io.github.holdfast.client;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/** One request of an {@link AuthorizedHttpClient}: its redirects, and its repetition after a 401. */
final class HttpExchange<T> {
  private static final int MAX_REDIRECTS = 5;
  private static final int UNAUTHORIZED = 401;

  private final AuthorizedHttpClient client;
  private final HttpRequest original;
  private final HttpResponse.BodyHandler<T> handler;
  private final CompletableFuture<HttpResponse<T>> result = new CompletableFuture<>();
  private volatile CompletableFuture<?> sending = CompletableFuture.completedFuture(null);

  HttpExchange(AuthorizedHttpClient client, HttpRequest original, HttpResponse.BodyHandler<T> handler) {
    this.client = client;
    this.original = original;
    this.handler = handler;
  }

  /** Where the request has got to; without says that it goes without the token. */
  private record Hop(HttpRequest request, AccessToken token, boolean without, int redirects, boolean repeated) {}

  CompletableFuture<HttpResponse<T>> start() {
    result.whenComplete((r, e) -> {
      if (result.isCancelled()) {
        sending.cancel(true);
      }
    });
    client.source().getAsync(original.timeout().orElse(null)).whenComplete((token, e) -> guard(() -> {
      if (e != null) {
        fail(e);
      } else if (!client.origins().allow(original.uri(), token)) {
        fail(client.origins().refusal(original.uri(), token));
      } else {
        send(new Hop(original, token, false, 0, false));
      }
    }));
    return result;
  }

  /** Whatever goes wrong ends the request: nobody waits for ever. */
  private void guard(Runnable step) {
    try {
      step.run();
    } catch (RuntimeException | Error e) {
      fail(e);
    }
  }

  private void fail(Throwable e) {
    result.completeExceptionally(Outcomes.cause(e));
  }

  private void send(Hop hop) {
    if (result.isDone()) {
      return; // cancelled
    }
    HttpRequest.Builder out = HttpRequest.newBuilder(hop.request, (name, value) -> !name.equalsIgnoreCase("Authorization"));
    if (!hop.without) {
      out.setHeader("Authorization", "Bearer " + hop.token.value());
    }
    CompletableFuture<HttpResponse<CapturedBody<T>>> answer = client.base().sendAsync(out.build(), info -> capture(hop, info));
    sending = answer;
    if (result.isCancelled()) {
      answer.cancel(true); // before there was something to cancel
    }
    answer.whenComplete((response, e) -> guard(() -> {
      if (e != null) {
        fail(e);
      } else {
        decide(hop, response);
      }
    }));
  }

  private HttpResponse.BodySubscriber<CapturedBody<T>> capture(Hop hop, HttpResponse.ResponseInfo info) {
    if (redirect(hop, info.statusCode(), info.headers().firstValue("Location")).isPresent()) {
      return CapturedBody.discarded();
    }
    return rejected(hop, info.statusCode()) ? CapturedBody.kept(info) : CapturedBody.handled(handler, info);
  }

  private static boolean rejected(Hop hop, int status) {
    return status == UNAUTHORIZED && !hop.without && !hop.repeated;
  }

  private void decide(Hop hop, HttpResponse<CapturedBody<T>> response) {
    Optional<HttpRequest> next = redirect(hop, response.statusCode(), response.headers().firstValue("Location"));
    if (next.isPresent()) {
      // Once without the token, always without: who led back to the API was not asked by the caller.
      boolean without = hop.without || elsewhere(hop.request, next.get().uri());
      send(new Hop(next.get(), hop.token, without, hop.redirects + 1, hop.repeated));
    } else if (rejected(hop, response.statusCode())) {
      // Reported even if the request cannot be repeated: the next one profits.
      TokenSource source = client.source();
      CompletableFuture<Optional<AccessToken>> asked = original.timeout().map(atMost -> source.rejected(hop.token, UNAUTHORIZED, atMost))
          .orElseGet(() -> source.rejected(hop.token, UNAUTHORIZED));
      asked.whenComplete((newer, e) -> guard(() -> {
        // The new token may be one for another site: a new consent can change that.
        if (newer.isPresent() && client.repeatable(hop.request) && client.origins().allow(hop.request.uri(), newer.get())) {
          send(new Hop(hop.request, newer.get(), false, hop.redirects, true));
        } else {
          answer(hop, response);
        }
      }));
    } else {
      result.complete(new PlainResponse<>(response, hop.request, response.body().body()));
    }
  }

  /** The kept response is the answer after all. */
  private void answer(Hop hop, HttpResponse<CapturedBody<T>> response) {
    response.body().replay(handler).whenComplete((body, failed) -> {
      if (failed != null) {
        fail(failed);
      } else {
        result.complete(new PlainResponse<>(response, hop.request, body));
      }
    });
  }

  /** The request that a redirect asks for, if it is one that is to be followed. */
  private Optional<HttpRequest> redirect(Hop hop, int status, Optional<String> location) {
    boolean known = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    if (!known || location.isEmpty() || hop.redirects >= MAX_REDIRECTS || client.followRedirects() == HttpClient.Redirect.NEVER) {
      return Optional.empty();
    }
    URI from = hop.request.uri();
    URI to;
    try {
      to = from.resolve(location.get());
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
    if (to.getHost() == null || !"http".equalsIgnoreCase(to.getScheme()) && !"https".equalsIgnoreCase(to.getScheme())) {
      return Optional.empty();
    }
    boolean weaker = "https".equalsIgnoreCase(from.getScheme()) && !"https".equalsIgnoreCase(to.getScheme());
    if (weaker && client.followRedirects() != HttpClient.Redirect.ALWAYS) {
      return Optional.empty();
    }
    boolean same = status == 307 || status == 308;
    if (same && !client.repeatable(hop.request)) {
      return Optional.empty();
    }
    return Optional.of(moved(hop.request, to, same));
  }

  private static HttpRequest moved(HttpRequest request, URI to, boolean same) {
    boolean elsewhere = elsewhere(request, to);
    HttpRequest.Builder out = HttpRequest.newBuilder(request, (name, value) -> !elsewhere || !secret(name)).uri(to);
    boolean keeps = same || request.method().equals("GET") || request.method().equals("HEAD");
    return (keeps ? out : out.method("GET", BodyPublishers.noBody())).build();
  }

  private static boolean elsewhere(HttpRequest request, URI to) {
    return !Origins.of(request.uri()).equals(Origins.of(to));
  }

  private static boolean secret(String header) {
    return header.equalsIgnoreCase("Authorization") || header.equalsIgnoreCase("Cookie") || header.equalsIgnoreCase("Proxy-Authorization");
  }
}
