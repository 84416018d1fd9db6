package io.github.holdfast.client;

import io.github.holdfast.v1.GetAccessTokenRequest;
import io.github.holdfast.v1.GetAccessTokenResponse;
import io.github.holdfast.v1.ReportRejectedTokenRequest;
import io.github.holdfast.v1.ReportRejectedTokenResponse;
import io.github.holdfast.v1.TokenServiceGrpc;
import io.grpc.ManagedChannel;
import io.grpc.Server;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** A broker that hands out one token, or none, and never answers the report that an API refused it. */
public final class SilentBroker extends TokenServiceGrpc.TokenServiceImplBase implements AutoCloseable {
  private final String apiBase;
  private final Server server;
  private final ManagedChannel channel;

  /** Holds the name of each call that is left without an answer. */
  public final BlockingQueue<String> waiting = new LinkedBlockingQueue<>();

  /** Starts it; apiBase is that of its token, null: it answers nothing at all. */
  public SilentBroker(String apiBase) throws IOException {
    this.apiBase = apiBase;
    String name = UUID.randomUUID().toString();
    server = InProcessServerBuilder.forName(name).addService(this).build().start();
    channel = InProcessChannelBuilder.forName(name).build();
  }

  /** A client of it, to be closed. */
  public HoldfastClient client() throws IOException {
    return HoldfastClient.builder(channel).build();
  }

  @Override
  public void getAccessToken(GetAccessTokenRequest request, StreamObserver<GetAccessTokenResponse> answer) {
    if (apiBase == null) {
      waiting.add("get");
      return;
    }
    answer.onNext(new VirtualBroker(new ManualTiming()).token().toBuilder().setApiBaseUrl(apiBase).build());
    answer.onCompleted();
  }

  @Override
  public void reportRejectedToken(ReportRejectedTokenRequest request, StreamObserver<ReportRejectedTokenResponse> answer) {
    waiting.add("report");
  }

  @Override
  public void close() {
    channel.shutdownNow();
    server.shutdownNow();
  }
}
