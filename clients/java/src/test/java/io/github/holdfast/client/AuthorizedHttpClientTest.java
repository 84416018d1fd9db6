package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.holdfast.client.testing.FakeBroker;
import io.github.holdfast.v1.TokenVerdict;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class AuthorizedHttpClientTest {
  private final FakeBroker broker = FakeBroker.start();
  private final HoldfastClient client = broker.client();
  private final TokenSource source = client.tokenSource("acme/automation/jira").build();
  private final AuthorizedHttpClient http = AuthorizedHttpClient.of(source);
  private Api api;
  private Api other;

  @BeforeEach
  void start() throws IOException {
    api = new Api();
    other = new Api();
    broker.apiBaseUrl(api.base());
  }

  @AfterEach
  void stop() {
    api.close();
    other.close();
    client.close();
    broker.close();
  }

  private HttpResponse<String> get(String url) throws IOException, InterruptedException {
    return http.send(HttpRequest.newBuilder(URI.create(url)).build(), BodyHandlers.ofString());
  }

  private HttpResponse<String> post(BodyPublisher body) throws IOException, InterruptedException {
    return http.send(HttpRequest.newBuilder(URI.create(api.base())).POST(body).build(), BodyHandlers.ofString());
  }

  private void calls(int gets, int reports) {
    assertEquals(gets + " and " + reports, broker.calls() + " and " + broker.reports());
  }

  @Test
  void theTokenGoesToTheApiAndIsNotShownToTheCaller() throws Exception {
    HttpResponse<String> r = http.send(
        HttpRequest.newBuilder(source.resolve("/rest/a%2Fb?q=1")).header("Authorization", "Basic old").build(), BodyHandlers.ofString());
    assertEquals("200 answer 200", r.statusCode() + " " + r.body());
    assertEquals(List.of("GET /ex/jira/cloud-1/rest/a%2Fb?q=1 [fake-token-1]"), api.seen);
    assertFalse((r.request().headers().map() + r.toString() + http).contains("fake-token"));
  }

  @Test
  void anyOtherOriginIsRefused() {
    for (String url : List.of(other.base(), "http://localhost:" + URI.create(api.base()).getPort(), "https://evil.example.com/x",
        "http://127.0.0.1.evil.example.com/", "https://127.0.0.1:" + URI.create(api.base()).getPort() + "/")) {
      RefusedOriginException e = assertThrows(RefusedOriginException.class, () -> get(url), url);
      assertTrue(e.getMessage().contains(api.base()), e.getMessage());
    }
    assertEquals(List.of(), api.seen);
    assertEquals(List.of(), other.seen);
  }

  @Test
  void originsReplaceTheDefault() throws Exception {
    AuthorizedHttpClient elsewhere = AuthorizedHttpClient.builder(source).origins(other.origin() + "/ignored").build();
    elsewhere.send(HttpRequest.newBuilder(URI.create(other.base())).build(), BodyHandlers.discarding());
    assertEquals(List.of("GET /ex/jira/cloud-1 [fake-token-1]"), other.seen);
    assertThrows(RefusedOriginException.class,
        () -> elsewhere.send(HttpRequest.newBuilder(URI.create(api.base())).build(), BodyHandlers.discarding()));
  }

  @Test
  void withoutASiteNothingIsAllowed() {
    broker.apiBaseUrl("");
    assertTrue(assertThrows(RefusedOriginException.class, () -> get(api.base())).getMessage().contains("several"));
    assertThrows(IllegalArgumentException.class, () -> source.resolve("/rest"));
  }

  @Test
  void aRedirectElsewhereGoesWithoutTheToken() throws Exception {
    api.answers = (token, path) -> new Api.Answer(303, other.origin() + "/file?sig=1");
    HttpRequest request = HttpRequest.newBuilder(URI.create(api.base())).header("Cookie", "session=1").build();
    assertEquals(200, http.send(request, BodyHandlers.ofString()).statusCode());
    assertEquals(List.of("GET /file?sig=1 []"), other.seen);
  }

  private int getOf(AuthorizedHttpClient client, String url) throws Exception {
    return client.send(HttpRequest.newBuilder(URI.create(url)).build(), BodyHandlers.discarding()).statusCode();
  }

  @Test
  void aRedirectToAnotherOriginThatMaySeeTheTokenGoesWithoutItAndIts401IsTheAnswer() throws Exception {
    api.answers = (token, path) -> new Api.Answer(302, other.origin() + "/b");
    other.answers = (token, path) -> new Api.Answer(401, null);
    assertEquals(401, getOf(AuthorizedHttpClient.builder(source).origins(api.origin(), other.origin()).build(), api.origin() + "/a"));
    assertEquals(List.of("GET /a [fake-token-1]"), api.seen);
    assertEquals(List.of("GET /b []"), other.seen);
    calls(1, 0);
  }

  @Test
  void aRedirectThereAndBackStaysWithoutTheTokenAndIts401IsTheAnswer() throws Exception {
    Map<String, String> back = Map.of("/a", other.origin() + "/b", "/d", "/e");
    Map<String, String> there = Map.of("/b", "/c", "/c", api.origin() + "/d");
    other.answers = (token, path) -> new Api.Answer(302, there.get(path));
    api.answers = (token, path) -> new Api.Answer(back.containsKey(path) ? 302 : 401, back.get(path));
    for (AuthorizedHttpClient client : List.of(http, AuthorizedHttpClient.builder(source).origins(api.origin(), other.origin()).build())) {
      api.seen.clear();
      other.seen.clear();
      assertEquals(401, getOf(client, api.origin() + "/a"));
      assertEquals(List.of("GET /a [fake-token-1]", "GET /d []", "GET /e []"), api.seen);
      assertEquals(List.of("GET /b []", "GET /c []"), other.seen);
    }
    calls(1, 0);
  }

  @Test
  void aRedirectWithinTheApiKeepsTheTokenAndA307TheBody() throws Exception {
    api.answers = (token, path) -> path.endsWith("/new") ? new Api.Answer(200, null) : new Api.Answer(307, "/ex/jira/cloud-1/new");
    assertEquals(200, post(BodyPublishers.ofString("hello")).statusCode());
    assertEquals(List.of("POST /ex/jira/cloud-1 [fake-token-1] hello", "POST /ex/jira/cloud-1/new [fake-token-1] hello"), api.seen);
  }

  @Test
  void redirectsEnd() throws Exception {
    api.answers = (token, path) -> new Api.Answer(302, api.base());
    assertEquals(302, get(api.base()).statusCode());
    assertEquals(6, api.seen.size());
  }

  @Test
  void redirectsAreNotFollowedIfNotAskedFor() throws Exception {
    api.answers = (token, path) -> new Api.Answer(302, other.base());
    AuthorizedHttpClient still = AuthorizedHttpClient.builder(source).followRedirects(HttpClient.Redirect.NEVER).build();
    assertEquals(302, still.send(HttpRequest.newBuilder(URI.create(api.base())).build(), BodyHandlers.discarding()).statusCode());
    assertEquals(List.of(), other.seen);
  }

  @Test
  void aClientThatWouldTakeTheTokenAlongIsRefused() {
    HttpClient follows = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NORMAL).build();
    assertThrows(IllegalArgumentException.class, () -> AuthorizedHttpClient.builder(source).base(follows));
  }

  @Test
  void a401IsReportedAndTheRequestRepeated() throws Exception {
    api.rejectFirst();
    assertEquals(200, get(api.base()).statusCode());
    assertEquals(List.of("GET /ex/jira/cloud-1 [fake-token-1]", "GET /ex/jira/cloud-1 [fake-token-2]"), api.seen);
    calls(2, 1);
  }

  @Test
  void aBodyThatIsKeptOrMarkedIsSentAgain() throws Exception {
    for (BodyPublisher body : List.of(BodyPublishers.ofString("hello"), BodyPublishers.ofByteArray("hello".getBytes(StandardCharsets.UTF_8)),
        RepeatableBody.of(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream("hello".getBytes(StandardCharsets.UTF_8)))))) {
      String old = source.get().value();
      api.answers = (token, path) -> new Api.Answer(token.equals(old) ? 401 : 200, null);
      api.seen.clear();
      assertEquals(200, post(body).statusCode());
      assertEquals(List.of("POST /ex/jira/cloud-1 [" + old + "] hello", "POST /ex/jira/cloud-1 [" + source.get().value() + "] hello"), api.seen);
    }
  }

  @Test
  void aStreamIsNotRepeatedYetTheTokenIsReported() throws Exception {
    api.rejectFirst();
    InputStream once = new ByteArrayInputStream("hello".getBytes(StandardCharsets.UTF_8));
    HttpResponse<String> r = post(BodyPublishers.ofInputStream(() -> once));
    assertEquals("401 answer 401", r.statusCode() + " " + r.body());
    calls(2, 1);
    assertEquals("fake-token-2", source.get().value());
  }

  @Test
  void theSecond401IsTheAnswer() throws Exception {
    api.answers = (token, path) -> new Api.Answer(401, null);
    HttpResponse<String> r = get(api.base());
    assertEquals("401 answer 401", r.statusCode() + " " + r.body());
    assertEquals(2, api.seen.size());
    calls(2, 1);
  }

  @Test
  void a401OfAnotherCauseIsTheAnswerWithItsBody() throws Exception {
    broker.verdict(TokenVerdict.TOKEN_VERDICT_TOKEN_ACCEPTED);
    api.answers = (token, path) -> new Api.Answer(401, null);
    HttpRequest request = HttpRequest.newBuilder(URI.create(api.base())).build();
    assertEquals("answer 401", get(api.base()).body());
    InputStream body = http.send(request, BodyHandlers.ofInputStream()).body();
    assertEquals("answer 401", new String(body.readAllBytes(), StandardCharsets.UTF_8));
    assertEquals(List.of("answer 401"), http.send(request, BodyHandlers.ofLines()).body().toList());
    assertEquals(3, api.seen.size());
    calls(1, 1);
  }

  @Test
  void aGenerationIsReportedOnceHoweverManySeeItRejected() throws Exception {
    api.rejectFirst();
    HttpRequest request = HttpRequest.newBuilder(URI.create(api.base())).build();
    List<CompletableFuture<HttpResponse<Void>>> all = java.util.stream.IntStream.range(0, 30)
        .mapToObj(i -> http.sendAsync(request, BodyHandlers.discarding())).toList();
    for (CompletableFuture<HttpResponse<Void>> one : all) {
      assertEquals(200, one.get().statusCode());
    }
    calls(2, 1);
  }

  @Test
  void aTokenThatIsForAnotherOriginMeanwhileDoesNotGoToTheOldOne() throws Exception {
    source.get();
    broker.apiBaseUrl(other.base());
    api.rejectFirst();
    assertEquals(401, get(api.base()).statusCode());
    assertEquals(List.of("GET /ex/jira/cloud-1 [fake-token-1]"), api.seen);
  }

  /** A bound of the test: what should end at once and hangs is not to hang the suite. */
  private static final Duration SOON = Duration.ofSeconds(20);

  @Test
  void aRequestsTimeoutEndsTheWaitForANewerToken() throws Exception {
    api.answers = (token, path) -> new Api.Answer(401, null);
    try (SilentBroker silent = new SilentBroker(api.base()); HoldfastClient its = silent.client()) {
      AuthorizedHttpClient bounded = AuthorizedHttpClient.of(its.tokenSource("acme/automation/jira").build());
      HttpRequest request = HttpRequest.newBuilder(URI.create(api.base())).timeout(Duration.ofSeconds(1)).build();
      assertEquals("answer 401", bounded.sendAsync(request, BodyHandlers.ofString()).get(SOON.toSeconds(), TimeUnit.SECONDS).body());
    }
  }

  @Test
  void aHandlerThatThrowsEndsTheRequest() {
    broker.verdict(TokenVerdict.TOKEN_VERDICT_TOKEN_ACCEPTED);
    api.answers = (token, path) -> new Api.Answer(401, null);
    HttpResponse.BodyHandler<String> broken = info -> {
      throw new AssertionError("of the handler");
    };
    CompletableFuture<HttpResponse<String>> answer = http.sendAsync(HttpRequest.newBuilder(URI.create(api.base())).build(), broken);
    ExecutionException e = assertThrows(ExecutionException.class, () -> answer.get(SOON.toSeconds(), TimeUnit.SECONDS));
    assertEquals("of the handler", e.getCause().getMessage());
  }

  @Test
  void aRefusalReachesTheCallerAsItIs() {
    broker.refuse(Reason.CONSENT_REQUIRED, Map.of("link", "https://h.example.com/c", "why", "REFUSED"));
    ConsentRequiredException e = assertThrows(ConsentRequiredException.class, () -> get(api.base()));
    assertEquals("https://h.example.com/c REFUSED", e.link().orElseThrow() + " " + e.why());
    HttpRequest request = HttpRequest.newBuilder(URI.create(api.base())).build();
    ExecutionException later = assertThrows(ExecutionException.class, () -> http.sendAsync(request, BodyHandlers.discarding()).get());
    assertEquals(ConsentRequiredException.class, later.getCause().getClass());
  }
}
