package io.github.holdfast.client.okhttp;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import io.github.holdfast.client.Api;
import io.github.holdfast.client.ConsentRequiredException;
import io.github.holdfast.client.HoldfastClient;
import io.github.holdfast.client.Reason;
import io.github.holdfast.client.RefusedOriginException;
import io.github.holdfast.client.SilentBroker;
import io.github.holdfast.client.TokenSource;
import io.github.holdfast.client.testing.FakeBroker;
import io.github.holdfast.v1.TokenVerdict;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import okhttp3.Call;
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;
import okio.BufferedSink;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class OkHttpTokensTest {
  private final FakeBroker broker = FakeBroker.start();
  private final HoldfastClient client = broker.client();
  private final TokenSource source = client.tokenSource("acme/automation/jira").build();
  private final OkHttpClient http = OkHttpTokens.install(new OkHttpClient.Builder(), source).build();
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
    http.dispatcher().executorService().shutdown();
    http.connectionPool().evictAll();
    api.close();
    other.close();
    client.close();
    broker.close();
  }

  private String send(Request.Builder b) throws IOException {
    try (Response r = http.newCall(b.build()).execute()) {
      return r.code() + " " + r.body().string();
    }
  }

  private Request.Builder to(String url) {
    return new Request.Builder().url(url);
  }

  private void calls(int gets, int reports) {
    assertEquals(gets + " and " + reports, broker.calls() + " and " + broker.reports());
  }

  @Test
  void theTokenGoesToTheApi() throws Exception {
    assertEquals("200 answer 200", send(to(api.base())));
    assertEquals(List.of("GET /ex/jira/cloud-1 [fake-token-1]"), api.seen);
  }

  @Test
  void anyOtherOriginIsRefused() {
    assertThrows(RefusedOriginException.class, () -> send(to(other.base())));
    assertEquals(List.of(), other.seen);
  }

  @Test
  void aRedirectElsewhereGoesWithoutTheToken() throws Exception {
    api.answers = (token, path) -> new Api.Answer(303, other.origin() + "/file");
    assertEquals("200 answer 200", send(to(api.base())));
    assertEquals(List.of("GET /file []"), other.seen);
  }

  @Test
  void aRedirectToAnotherOriginThatMaySeeTheTokenGoesWithoutItAndStaysSo() throws Exception {
    OkHttpClient both = OkHttpTokens.install(new OkHttpClient.Builder(), source, api.origin(), other.origin()).build();
    Map<String, String> back = Map.of("/a", other.origin() + "/b", "/d", "/e");
    api.answers = (token, path) -> new Api.Answer(back.containsKey(path) ? 302 : 401, back.get(path));
    other.answers = (token, path) -> new Api.Answer(302, api.origin() + "/d");
    try (Response r = both.newCall(to(api.origin() + "/a").build()).execute()) {
      assertEquals(401, r.code());
    } finally {
      both.dispatcher().executorService().shutdown();
      both.connectionPool().evictAll();
    }
    assertEquals(List.of("GET /a [fake-token-1]", "GET /d []", "GET /e []"), api.seen);
    assertEquals(List.of("GET /b []"), other.seen);
    calls(1, 0);
  }

  @Test
  void a401FromElsewhereIsNotReported() throws Exception {
    api.answers = (token, path) -> new Api.Answer(303, other.origin() + "/file");
    other.answers = (token, path) -> new Api.Answer(401, null);
    assertEquals("401 answer 401", send(to(api.base())));
    assertEquals(List.of("GET /file []"), other.seen);
    calls(1, 0);
  }

  @Test
  void a401IsReportedAndTheRequestRepeated() throws Exception {
    api.rejectFirst();
    assertEquals("200 answer 200", send(to(api.base()).post(RequestBody.create("hello", null))));
    assertEquals(List.of("POST /ex/jira/cloud-1 [fake-token-1] hello", "POST /ex/jira/cloud-1 [fake-token-2] hello"), api.seen);
    calls(2, 1);
  }

  @Test
  void aBodyThatCanBeSentOnceIsNotRepeatedYetTheTokenIsReported() throws Exception {
    api.rejectFirst();
    RequestBody once = new RequestBody() {
      @Override
      public MediaType contentType() {
        return null;
      }

      @Override
      public boolean isOneShot() {
        return true;
      }

      @Override
      public void writeTo(BufferedSink sink) throws IOException {
        sink.writeUtf8("hello");
      }
    };
    assertEquals("401 answer 401", send(to(api.base()).post(once)));
    calls(2, 1);
    assertEquals("fake-token-2", source.get().value());
  }

  @Test
  void theSecond401IsTheAnswer() throws Exception {
    api.answers = (token, path) -> new Api.Answer(401, null);
    assertEquals("401 answer 401", send(to(api.base())));
    assertEquals(2, api.seen.size());
    calls(2, 1);
  }

  @Test
  void a401OfAnotherCauseIsTheAnswer() throws Exception {
    broker.verdict(TokenVerdict.TOKEN_VERDICT_TOKEN_ACCEPTED);
    api.answers = (token, path) -> new Api.Answer(401, null);
    assertEquals("401 answer 401", send(to(api.base())));
    assertEquals(1, api.seen.size());
    calls(1, 1);
  }

  @Test
  void aTokenThatIsForAnotherOriginMeanwhileDoesNotGoToTheOldOne() throws Exception {
    source.get();
    broker.apiBaseUrl(other.base());
    api.rejectFirst();
    assertEquals("401 answer 401", send(to(api.base())));
    assertEquals(List.of("GET /ex/jira/cloud-1 [fake-token-1]"), api.seen);
  }

  @Test
  void aCallsTimeoutEndsTheWaitForANewerToken() throws Exception {
    api.answers = (token, path) -> new Api.Answer(401, null);
    try (SilentBroker silent = new SilentBroker(api.base()); HoldfastClient its = silent.client()) {
      TokenSource tokens = its.tokenSource("acme/automation/jira").build();
      OkHttpClient bounded = OkHttpTokens.install(http.newBuilder().callTimeout(Duration.ofSeconds(1)), tokens).build();
      // The client's own timeout, 40 s, would be the bound else.
      assertTimeoutPreemptively(Duration.ofSeconds(20), () -> assertThrows(IOException.class, () -> bounded.newCall(to(api.base()).build()).execute().close()));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"get", "report"})
  void aCallThatIsCancelledWaitsForNoToken(String waiting) throws Exception {
    api.answers = (token, path) -> new Api.Answer(401, null);
    try (SilentBroker silent = new SilentBroker(waiting.equals("get") ? null : api.base()); HoldfastClient its = silent.client()) {
      TokenSource tokens = its.tokenSource("acme/automation/jira").build();
      Call call = OkHttpTokens.install(http.newBuilder(), tokens).build().newCall(to(api.base()).build());
      CompletableFuture<IOException> failure = CompletableFuture.supplyAsync(() -> assertThrows(IOException.class, () -> call.execute().close()));
      assertEquals(waiting, silent.waiting.poll(10, TimeUnit.SECONDS));
      call.cancel();
      // The client's own timeout, 40 s, would be the bound else.
      assertEquals("Canceled", failure.get(20, TimeUnit.SECONDS).getMessage());
    }
  }

  @Test
  void aRefusalReachesTheCallerAsItIs() {
    broker.refuse(Reason.CONSENT_REQUIRED, Map.of("link", "https://h.example.com/c"));
    assertThrows(ConsentRequiredException.class, () -> send(to(api.base())));
  }
}
