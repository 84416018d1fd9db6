package io.github.holdfast.client;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.BiFunction;

/** The other side of an HTTP client: an API on loopback that records what it sees. */
public final class Api implements AutoCloseable {
  /** Status and, for a redirect, where to. */
  public record Answer(int status, String location) {}

  private final HttpServer server;
  private final ExecutorService threads = Executors.newCachedThreadPool();

  /** "METHOD path [token] body" of each request. */
  public final List<String> seen = new CopyOnWriteArrayList<>();

  /** What to answer, by the token and the path. */
  public volatile BiFunction<String, String, Answer> answers = (token, path) -> new Answer(200, null);

  /** Starts on a free port. */
  public Api() throws IOException {
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext("/", this::handle);
    server.setExecutor(threads);
    server.start();
  }

  private void handle(HttpExchange x) throws IOException {
    String body = new String(x.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
    String header = x.getRequestHeaders().getFirst("Authorization");
    String token = header == null ? "" : header.replace("Bearer ", "");
    seen.add((x.getRequestMethod() + " " + x.getRequestURI() + " [" + token + "] " + body).strip());
    Answer a = answers.apply(token, x.getRequestURI().toString());
    if (a.location != null) {
      x.getResponseHeaders().set("Location", a.location);
    }
    byte[] text = ("answer " + a.status).getBytes(StandardCharsets.UTF_8);
    x.sendResponseHeaders(a.status, text.length);
    x.getResponseBody().write(text);
    x.close();
  }

  public String origin() {
    return "http://127.0.0.1:" + server.getAddress().getPort();
  }

  public String base() {
    return origin() + "/ex/jira/cloud-1";
  }

  /** Answers 401 to the first token. */
  public void rejectFirst() {
    answers = (token, path) -> new Answer(token.equals("fake-token-1") ? 401 : 200, null);
  }

  @Override
  public void close() {
    server.stop(0);
    threads.shutdownNow();
  }
}
