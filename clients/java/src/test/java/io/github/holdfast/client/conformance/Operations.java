package io.github.holdfast.client.conformance;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.github.holdfast.client.AccessToken;
import io.github.holdfast.client.AuthorizedHttpClient;
import io.github.holdfast.client.HoldfastClient;
import io.github.holdfast.client.HoldfastClientBuilder;
import io.github.holdfast.client.HoldfastException;
import io.github.holdfast.client.TokenSource;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;

/** The operations of the suite, each by the client's own means. */
final class Operations {
  private static final int SHOWN_BODY = 4096;
  private static final Duration SETTLE = Duration.ofSeconds(3);

  private final Map<String, HoldfastClient> clients = new ConcurrentHashMap<>();
  private final Map<String, TokenSource> sources = new ConcurrentHashMap<>();
  private final AtomicLong skewMillis = new AtomicLong();
  // Made before the first dial: its thread is not the client's.
  private final HttpClient http = HttpClient.newHttpClient();
  private final ExecutorService callers = Executors.newCachedThreadPool();

  /** The wall clock that the clients see. */
  private final Clock wall = new Clock() {
    @Override
    public ZoneId getZone() {
      return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(ZoneId zone) {
      return this;
    }

    @Override
    public Instant instant() {
      return Instant.now().plusMillis(skewMillis.get());
    }
  };

  JsonObject answer(JsonObject q) {
    long began = System.nanoTime();
    JsonObject a;
    try {
      a = operate(q);
    } catch (Throwable e) {
      a = Errors.answer(e);
    }
    if (!a.has("elapsed_ms")) {
      a.addProperty("elapsed_ms", (System.nanoTime() - began) / 1_000_000);
    }
    return a;
  }

  private JsonObject operate(JsonObject q) throws Exception {
    return switch (text(q, "op")) {
      case "dial" -> dial(q);
      case "source" -> source(q);
      case "token" -> token(q);
      case "http" -> http(q);
      case "close" -> close(text(q, "client"));
      case "clock" -> {
        skewMillis.set(number(q, "skew_ms"));
        yield new JsonObject();
      }
      default -> Errors.answer("UNSUPPORTED", "no such operation: " + text(q, "op"));
    };
  }

  private JsonObject dial(JsonObject q) {
    HoldfastClientBuilder b = HoldfastClient.builder(text(q, "target")).clock(wall);
    if (!text(q, "cert").isEmpty()) {
      b.tlsFiles(Path.of(text(q, "cert")), Path.of(text(q, "key")), path(q, "ca"));
    }
    if (!text(q, "token_file").isEmpty()) {
      b.tokenFile(Path.of(text(q, "token_file")), path(q, "ca"));
    }
    if (flag(q, "plaintext", false)) {
      b.plaintext();
    }
    if (number(q, "timeout_ms") > 0) {
      b.timeout(Duration.ofMillis(number(q, "timeout_ms")));
    }
    try {
      clients.put(text(q, "client"), b.build());
    } catch (IOException | IllegalArgumentException e) {
      return Errors.answer("CONFIG", e.getMessage());
    }
    return new JsonObject();
  }

  private JsonObject source(JsonObject q) {
    TokenSource.Builder b;
    try {
      b = clients.get(text(q, "client")).tokenSource(text(q, "grant"));
    } catch (IllegalArgumentException e) {
      return Errors.answer("INVALID_REQUEST", e.getMessage());
    }
    if (!text(q, "site").isEmpty()) {
      b.site(text(q, "site"));
    }
    if (!list(q, "scopes").isEmpty()) {
      b.scopes(list(q, "scopes").toArray(String[]::new));
    }
    if (!text(q, "purpose").isEmpty()) {
      b.purpose(text(q, "purpose"));
    }
    if (number(q, "min_ttl_ms") > 0) {
      b.minTtl(Duration.ofMillis(number(q, "min_ttl_ms")));
    }
    if (flag(q, "watch", false)) {
      b.watch();
    }
    sources.put(text(q, "source"), b.build());
    return new JsonObject();
  }

  private JsonObject token(JsonObject q) throws InterruptedException {
    TokenSource s = sources.get(text(q, "source"));
    Duration deadline = number(q, "deadline_ms") > 0 ? Duration.ofMillis(number(q, "deadline_ms")) : null;
    List<Future<AccessToken>> calls = new ArrayList<>();
    long began = System.nanoTime();
    for (long i = Math.max(1, number(q, "count")); i > 0; i--) {
      calls.add(callers.submit(() -> s.get(deadline)));
    }
    Set<String> distinct = new HashSet<>();
    AccessToken newest = null;
    Throwable first = null;
    int failed = 0;
    for (Future<AccessToken> call : calls) {
      try {
        AccessToken t = call.get();
        distinct.add(t.value());
        newest = newest == null || t.generation() > newest.generation() ? t : newest;
      } catch (java.util.concurrent.ExecutionException e) {
        first = first == null ? e.getCause() : first;
        failed++;
      }
    }
    JsonObject a = first == null ? new JsonObject() : Errors.answer(first);
    a.addProperty("elapsed_ms", (System.nanoTime() - began) / 1_000_000);
    if (first != null) {
      a.addProperty("failed", failed);
      return a;
    }
    JsonObject shown = new JsonObject();
    shown.addProperty("access_token", newest.value());
    shown.addProperty("generation", newest.generation());
    shown.addProperty("api_base_url", newest.apiBaseUrl());
    a.add("token", shown);
    a.addProperty("distinct", distinct.size());
    return a;
  }

  private JsonObject http(JsonObject q) throws IOException, InterruptedException {
    TokenSource s = sources.get(text(q, "source"));
    AuthorizedHttpClient client = AuthorizedHttpClient.builder(s).base(http).origins(list(q, "origins").toArray(String[]::new)).build();
    String url = text(q, "url");
    URI uri = url.startsWith("/") ? s.resolve(url) : URI.create(url);
    HttpRequest.Builder b = HttpRequest.newBuilder(uri).method(text(q, "method"), body(q));
    if (number(q, "deadline_ms") > 0) {
      b.timeout(Duration.ofMillis(number(q, "deadline_ms")));
    }
    HttpResponse<byte[]> response;
    try {
      response = client.send(b.build(), HttpResponse.BodyHandlers.ofByteArray());
    } catch (HoldfastException e) {
      throw e;
    } catch (java.net.http.HttpTimeoutException e) {
      return Errors.answer("DEADLINE_EXCEEDED", e.getMessage());
    } catch (IOException e) {
      return Errors.answer("IO", String.valueOf(e.getMessage()));
    }
    JsonObject a = new JsonObject();
    a.addProperty("status", response.statusCode());
    int shown = Math.min(SHOWN_BODY, response.body().length);
    a.addProperty("body", new String(response.body(), 0, shown, StandardCharsets.UTF_8));
    return a;
  }

  private static BodyPublisher body(JsonObject q) {
    String body = text(q, "body");
    if (flag(q, "repeatable", true)) {
      return body.isEmpty() ? BodyPublishers.noBody() : BodyPublishers.ofString(body);
    }
    ByteArrayInputStream once = new ByteArrayInputStream(body.getBytes(StandardCharsets.UTF_8));
    return BodyPublishers.ofInputStream(() -> once);
  }

  /**
   * Closes a client. What grpc-java keeps for the whole process, its event loops and timers, does
   * not count, nor do the JDK's HTTP client and this runner's own pools.
   */
  private JsonObject close(String name) throws InterruptedException {
    HoldfastClient c = clients.get(name);
    if (c != null) {
      c.close();
    }
    long end = System.nanoTime() + SETTLE.toNanos();
    while (left() > 0 && System.nanoTime() < end) {
      Thread.sleep(20);
    }
    JsonObject a = new JsonObject();
    a.addProperty("leaked", left());
    return a;
  }

  private static long left() {
    return Thread.getAllStackTraces().keySet().stream().filter(t -> t.getName().startsWith("holdfast-")).count();
  }

  void closeAll() {
    clients.values().forEach(HoldfastClient::close);
  }

  private static String text(JsonObject q, String key) {
    JsonElement e = q.get(key);
    return e == null || e.isJsonNull() ? "" : e.getAsString();
  }

  private static Path path(JsonObject q, String key) {
    return text(q, key).isEmpty() ? null : Path.of(text(q, key));
  }

  private static long number(JsonObject q, String key) {
    JsonElement e = q.get(key);
    return e == null || e.isJsonNull() ? 0 : e.getAsLong();
  }

  private static boolean flag(JsonObject q, String key, boolean missing) {
    JsonElement e = q.get(key);
    return e == null || e.isJsonNull() ? missing : e.getAsBoolean();
  }

  private static List<String> list(JsonObject q, String key) {
    List<String> all = new ArrayList<>();
    JsonElement e = q.get(key);
    if (e != null && e.isJsonArray()) {
      e.getAsJsonArray().forEach(x -> all.add(x.getAsString()));
    }
    return all;
  }
}
