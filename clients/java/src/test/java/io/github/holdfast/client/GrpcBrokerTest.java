package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.github.holdfast.v1.GetAccessTokenRequest;
import io.github.holdfast.v1.GetAccessTokenResponse;
import io.github.holdfast.v1.TokenServiceGrpc;
import io.grpc.Attributes;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.ServerTransportFilter;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class GrpcBrokerTest {
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  /** Answers when the test says so. */
  private static final class Held extends TokenServiceGrpc.TokenServiceImplBase {
    final BlockingQueue<StreamObserver<GetAccessTokenResponse>> waiting = new LinkedBlockingQueue<>();

    @Override
    public void getAccessToken(GetAccessTokenRequest request, StreamObserver<GetAccessTokenResponse> answer) {
      waiting.add(answer);
    }

    void answer() throws InterruptedException {
      StreamObserver<GetAccessTokenResponse> one = waiting.poll(20, TimeUnit.SECONDS);
      one.onNext(GetAccessTokenResponse.getDefaultInstance());
      one.onCompleted();
    }
  }

  private final Held held = new Held();
  private final AtomicInteger connections = new AtomicInteger();
  /** The connection of each call, by its number. */
  private final List<Integer> over = new CopyOnWriteArrayList<>();
  private final AtomicBoolean renewed = new AtomicBoolean();

  private Server server;
  private ManagedChannel channel;

  @BeforeEach
  void serve() throws IOException {
    Attributes.Key<Integer> number = Attributes.Key.create("connection");
    String name = UUID.randomUUID().toString();
    server = InProcessServerBuilder.forName(name).addService(held).addTransportFilter(new ServerTransportFilter() {
      @Override
      public Attributes transportReady(Attributes a) {
        return a.toBuilder().set(number, connections.incrementAndGet()).build();
      }
    }).intercept(new ServerInterceptor() {
      @Override
      public <Q, A> ServerCall.Listener<Q> interceptCall(ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
        over.add(call.getAttributes().get(number));
        return next.startCall(call, headers);
      }
    }).build().start();
    channel = InProcessChannelBuilder.forName(name).build();
  }

  @AfterEach
  void stop() {
    channel.shutdownNow();
    server.shutdownNow();
  }

  private GrpcBroker broker(BooleanSupplier renewed) {
    return new GrpcBroker(channel, new Connection(channel, new Way("broker:1", null, null, null, true), renewed), Runnable::run);
  }

  private static CompletableFuture<GetAccessTokenResponse> ask(GrpcBroker broker) {
    return broker.get(GetAccessTokenRequest.getDefaultInstance(), PATIENCE);
  }

  @Test
  void aCallAfterARenewalHasAConnectionOfItsOwnAndTheOneBeforeGoesOn() throws Exception {
    GrpcBroker broker = broker(() -> renewed.getAndSet(false));
    CompletableFuture<GetAccessTokenResponse> before = ask(broker);
    StreamObserver<GetAccessTokenResponse> later = held.waiting.poll(20, TimeUnit.SECONDS);
    CompletableFuture<GetAccessTokenResponse> same = ask(broker);
    held.answer();
    same.get(20, TimeUnit.SECONDS);
    renewed.set(true);
    CompletableFuture<GetAccessTokenResponse> after = ask(broker);
    held.answer();
    after.get(20, TimeUnit.SECONDS);
    assertEquals(List.of(1, 1, 2), over);
    later.onNext(GetAccessTokenResponse.getDefaultInstance());
    later.onCompleted();
    before.get(20, TimeUnit.SECONDS);
  }

  @Test
  void noCallBeginsOverTheConnectionBeforeWhileAnotherOneLeavesThat() throws Exception {
    CountDownLatch found = new CountDownLatch(1);
    CompletableFuture<Boolean> go = new CompletableFuture<>();
    GrpcBroker broker = broker(() -> {
      if (!renewed.getAndSet(false)) {
        return false;
      }
      found.countDown();
      return go.join();
    });
    CompletableFuture<GetAccessTokenResponse> before = ask(broker);
    held.answer();
    before.get(20, TimeUnit.SECONDS);
    renewed.set(true);
    Thread first = new Thread(() -> ask(broker));
    first.start();
    found.await();
    Thread second = new Thread(() -> ask(broker));
    second.start();
    while (second.isAlive() && second.getState() != Thread.State.BLOCKED) {
      Thread.onSpinWait();
    }
    go.complete(true);
    first.join();
    second.join();
    held.answer();
    held.answer();
    assertEquals(List.of(1, 2, 2), over);
  }
}
