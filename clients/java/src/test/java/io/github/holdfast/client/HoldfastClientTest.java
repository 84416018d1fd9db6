package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.holdfast.v1.GetAccessTokenRequest;
import io.github.holdfast.v1.GetAccessTokenResponse;
import io.github.holdfast.v1.TokenServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.NullSource;
import org.junit.jupiter.params.provider.NullSource;
import org.junit.jupiter.params.provider.ValueSource;

class HoldfastClientTest {
  private static final String GRANT = "acme/automation/jira";

  /** Answers when the test says so. */
  private static final class Held extends TokenServiceGrpc.TokenServiceImplBase {
    final BlockingQueue<StreamObserver<GetAccessTokenResponse>> waiting = new LinkedBlockingQueue<>();

    @Override
    public void getAccessToken(GetAccessTokenRequest request, StreamObserver<GetAccessTokenResponse> answer) {
      waiting.add(answer);
    }
  }

  private final Held held = new Held();
  private final String name = UUID.randomUUID().toString();
  private final List<String> intercepted = new CopyOnWriteArrayList<>();
  private final ThreadLocal<String> span = new ThreadLocal<>();
  private Server server;
  private ManagedChannel channel;
  private HoldfastClient client;

  @BeforeEach
  void start() throws IOException {
    server = InProcessServerBuilder.forName(name).addService(held).build().start();
    channel = InProcessChannelBuilder.forName(name).build();
    client = HoldfastClient.builder(channel).interceptors(noting("first"), noting("second")).build();
  }

  @AfterEach
  void stop() {
    client.close();
    channel.shutdownNow();
    server.shutdownNow();
  }

  private ClientInterceptor noting(String who) {
    return new ClientInterceptor() {
      @Override
      public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        intercepted.add(who + " " + span.get());
        return next.newCall(method, options);
      }
    };
  }

  private void answer() throws InterruptedException {
    StreamObserver<GetAccessTokenResponse> answer = held.waiting.poll(10, TimeUnit.SECONDS);
    answer.onNext(new VirtualBroker(new ManualTiming()).token());
    answer.onCompleted();
  }

  /** Threads of clients that do not end by themselves; one that is ending is waited for. */
  private static long threads() throws InterruptedException {
    long left = 0;
    for (Thread t : Thread.getAllStackTraces().keySet()) {
      if (t.getName().startsWith("holdfast-")) {
        t.join(1000);
        left += t.isAlive() ? 1 : 0;
      }
    }
    return left;
  }

  @Test
  void aCallBeginsInTheCallersTracingContext() throws Exception {
    span.set("span-1");
    CompletableFuture<AccessToken> got = client.tokenSource(GRANT).build().getAsync();
    answer();
    assertEquals("token-1", got.get().value());
    assertEquals(List.of("first span-1", "second span-1"), intercepted);
  }

  /** E.g. two versions of a tracing library: that call fails, and nobody waits for it for ever. */
  @Test
  void anInterceptorThatDoesNotLinkFailsTheCallsAndHangsNone() throws Exception {
    ClientInterceptor broken = new ClientInterceptor() {
      @Override
      public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        throw new NoClassDefFoundError("io/example/Gone");
      }
    };
    try (HoldfastClient c = HoldfastClient.builder(channel).interceptors(broken).build()) {
      TokenSource source = c.tokenSource(GRANT).build();
      for (int i = 0; i < 2; i++) {
        HoldfastException e = assertThrows(HoldfastException.class, () -> source.get(Duration.ofSeconds(20)));
        assertTrue(e.getMessage().contains("io/example/Gone"), e.getMessage());
      }
    }
  }

  @Test
  void aTimeThatNeverComesIsNoMistake() throws Exception {
    Duration never = Duration.ofSeconds(Long.MAX_VALUE);
    try (HoldfastClient c = HoldfastClient.builder(channel).timeout(never).build()) {
      CompletableFuture<AccessToken> got = c.tokenSource(GRANT).build().getAsync(never);
      answer();
      assertEquals("token-1", got.get(20, TimeUnit.SECONDS).value());
    }
  }

  /** The client's threads outlive the request in which they are made. */
  @Test
  void theThreadsOfAClientInheritNothingFromItsFirstCaller() throws Exception {
    InheritableThreadLocal<String> user = new InheritableThreadLocal<>();
    user.set("alice");
    CompletableFuture<String> seen = new CompletableFuture<>();
    client.executor().execute(() -> seen.complete(user.get() + " " + (Thread.currentThread().getContextClassLoader() == HoldfastClient.class.getClassLoader())));
    assertEquals("null true", seen.get(20, TimeUnit.SECONDS));
    CompletableFuture<String> timed = new CompletableFuture<>();
    client.timing().after(Duration.ZERO, () -> timed.complete(user.get()));
    assertEquals(null, timed.get(20, TimeUnit.SECONDS));
  }

  @Test
  void theEndOfTheFirstCallersServerCallDoesNotEndTheCallOfTheOthers() throws Exception {
    TokenSource source = client.tokenSource(GRANT).build();
    Context.CancellableContext request = Context.current().withCancellation();
    CompletableFuture<AccessToken> first = request.call(source::getAsync);
    CompletableFuture<AccessToken> other = source.getAsync();
    request.cancel(null);
    answer();
    assertEquals("token-1", other.get().value());
    assertEquals("token-1", first.get().value());
  }

  @Test
  void aCallerThatGivesUpDoesNotEndTheCallOfTheOthers() throws Exception {
    TokenSource source = client.tokenSource(GRANT).build();
    CompletableFuture<AccessToken> first = source.getAsync();
    assertThrows(DeadlineExceededException.class, () -> source.get(Duration.ofMillis(1)));
    first.cancel(true);
    CompletableFuture<AccessToken> other = source.getAsync();
    answer();
    assertEquals("token-1", other.get().value());
  }

  @Test
  void closeEndsCallsUnderWayAndLeavesNoThread() throws Exception {
    TokenSource source = client.tokenSource(GRANT).build();
    CompletableFuture<AccessToken> waiting = source.getAsync();
    assertTrue(held.waiting.poll(10, TimeUnit.SECONDS) != null);
    client.close();
    ExecutionException e = assertThrows(ExecutionException.class, waiting::get);
    assertInstanceOf(ClientClosedException.class, e.getCause());
    assertThrows(ClientClosedException.class, source::get);
    assertThrows(IllegalStateException.class, () -> client.tokenSource(GRANT).build());
    assertEquals(0, threads());
    client.close();
    assertFalse(channel.isShutdown(), "the caller's channel was closed");
  }

  /** Nor for the call whose answer it was told of: that ends when the callback does. */
  @Test
  void closedByACallbackOfItsOwnItDoesNotWaitForThat() throws Exception {
    CompletableFuture<Long> seconds = client.tokenSource(GRANT).build().getAsync().thenApply(t -> {
      long began = System.nanoTime();
      client.close();
      return TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - began);
    });
    StreamObserver<GetAccessTokenResponse> first = held.waiting.poll(10, TimeUnit.SECONDS);
    CompletableFuture<AccessToken> other = client.tokenSource(GRANT).build().getAsync();
    assertTrue(held.waiting.poll(10, TimeUnit.SECONDS) != null);
    first.onNext(new VirtualBroker(new ManualTiming()).token());
    first.onCompleted();
    assertTrue(seconds.get(20, TimeUnit.SECONDS) < 4, "it waited for itself");
    ExecutionException e = assertThrows(ExecutionException.class, other::get);
    assertInstanceOf(ClientClosedException.class, e.getCause());
    assertEquals(0, threads());
  }

  @ParameterizedTest
  @ValueSource(strings = {"broker.internal:7443", "10.0.0.1:7443", "127.0.0.1.example.com:7443", "dns:///localhost:7443", "[::2]:7443", "localhost"})
  void plaintextLeavesNoMachine(String target) {
    assertThrows(IllegalArgumentException.class, () -> HoldfastClient.builder(target).plaintext().build());
  }

  @ParameterizedTest
  @ValueSource(strings = {"localhost:7443", "127.0.0.1:7443", "127.9.9.9:7443", "[::1]:7443", "[0:0:0:0:0:0:0:1]:7443"})
  void plaintextOnThisMachineIsAllowed(String target) throws IOException {
    HoldfastClient.builder(target).plaintext().build().close();
  }

  @ParameterizedTest
  @NullSource
  @ValueSource(strings = {"", "https://h:1", "http://h:1", "grpc://h:1", "h", "h:", ":1", "h:0", "h:65536", "h:+1", "h:https", "h:1/", "h:1?x", "a b:1",
      "u@h:1", "::1", "::1:7443", "[h:1", "%zz:1", "localhost"})
  void aTargetThatLeadsNowhereIsRefusedWithWhatToWrite(String target) {
    for (HoldfastClientBuilder b : List.of(HoldfastClient.builder(target).plaintext(), HoldfastClient.builder(target).tokenFile(Path.of("x"), null))) {
      IllegalArgumentException e = assertThrows(IllegalArgumentException.class, b::build);
      assertTrue(e.getMessage().startsWith("holdfast: target ") && e.getMessage().contains("want host:port"), e.getMessage());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"h:1", "10.0.0.1:65535", "[::1]:7443", "dns:///h:1", "dns:///h", "dns:h:1"})
  void aTargetOfItsOwnResolverIsLeftToThat(String target) throws IOException {
    assertEquals(target, Target.checked(target));
    Path token = Files.writeString(Files.createTempFile("holdfast", ".token"), "t");
    HoldfastClient.builder(target).tokenFile(token, null).build().close();
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, HoldfastClient.builder("dns:").tokenFile(token, null)::build);
    assertTrue(e.getMessage().contains("want host:port"), e.getMessage());
    Files.delete(token);
  }

  @Test
  void anIdentityIsChosenOnce() {
    Path p = Path.of("x");
    for (HoldfastClientBuilder b : List.of(
        HoldfastClient.builder("h:1"), HoldfastClient.builder("h:1").tlsFiles(p, p, p).tokenFile(p, p),
        HoldfastClient.builder("localhost:1").plaintext().tokenFile(p, p), HoldfastClient.builder(channel).plaintext())) {
      assertThrows(IllegalArgumentException.class, b::build);
    }
    assertThrows(IOException.class, HoldfastClient.builder("h:1").tlsFiles(p, p, p)::build);
  }

  @ParameterizedTest
  @NullSource
  @ValueSource(strings = {"", "a/b", "a/b/c/d/e", "a//c", "a/b/c d", "grt_short", "a/b/ü"})
  void aGrantThatDoesNotParseIsRefused(String grant) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> client.tokenSource(grant));
    assertTrue(e.getMessage().contains(grant == null ? "grant is not set: want an id" : "tenant/subject/product[/name]"), e.getMessage());
  }
}
