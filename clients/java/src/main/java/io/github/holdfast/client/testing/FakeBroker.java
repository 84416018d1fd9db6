package io.github.holdfast.client.testing;

import io.github.holdfast.client.HoldfastClient;
import io.github.holdfast.client.Reason;
import io.github.holdfast.v1.TokenVerdict;
import io.grpc.ManagedChannel;
import io.grpc.Server;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import java.io.IOException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * A broker that hands out {@code fake-token-1}, {@code fake-token-2} and so on for every grant, and
 * does what a test tells it to: rotate, refuse, let tokens expire. Safe for use by several threads.
 *
 * <pre>{@code
 * try (FakeBroker broker = FakeBroker.start(); HoldfastClient client = broker.client()) {
 *   broker.refuse(Reason.CONSENT_REQUIRED, Map.of("link", "https://holdfast.example.com/connect"));
 *   ...
 * }
 * }</pre>
 */
public final class FakeBroker implements AutoCloseable {
  private final FakeService service = new FakeService();
  private final String name = "holdfast-fake-" + UUID.randomUUID();
  private final Server server;
  private final List<ManagedChannel> channels = new CopyOnWriteArrayList<>();

  private FakeBroker() throws IOException {
    this.server = InProcessServerBuilder.forName(name).addService(service).build().start();
  }

  /**
   * Starts a broker whose tokens live for an hour and whose API is at
   * {@code https://api.example.com/ex/jira/cloud-1}.
   *
   * @return the broker, to be closed
   */
  public static FakeBroker start() {
    try {
      return new FakeBroker();
    } catch (IOException e) {
      throw new IllegalStateException("an in-process server needs nothing that could fail", e);
    }
  }

  /**
   * Returns a client of this broker, which sees the time that {@link #advance} sets.
   *
   * @return a client, to be closed
   */
  public HoldfastClient client() {
    ManagedChannel channel = InProcessChannelBuilder.forName(name).build();
    channels.add(channel);
    try {
      return HoldfastClient.builder(channel).clock(new Shifted()).build();
    } catch (IOException e) {
      throw new IllegalStateException("no file is read for a channel", e);
    }
  }

  /** The system's clock, late or early by what the test says. */
  private final class Shifted extends Clock {
    @Override
    public ZoneId getZone() {
      return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(ZoneId zone) {
      throw new UnsupportedOperationException("this clock only tells instants");
    }

    @Override
    public Instant instant() {
      return service.now();
    }
  }

  /**
   * Sets the base URL of the API that tokens are for, e.g. of a test's own server.
   *
   * @param url without a trailing slash; empty: the grant has several sites
   */
  public void apiBaseUrl(String url) {
    service.apiBaseUrl(url);
  }

  /**
   * Sets how long tokens live from now on.
   *
   * @param life the time
   */
  public void life(Duration life) {
    service.life(life);
  }

  /** Brings a token of the next generation. Clients see it when they ask; watching ones at once. */
  public void rotate() {
    service.rotate();
  }

  /**
   * Refuses every call from now on, as the broker would for this reason; watching clients hear of it.
   *
   * @param reason one of the broker's own
   * @param metadata further details by name, as the contract documents them, e.g. {@code link}
   * @throws IllegalArgumentException for a reason that no broker gives
   */
  public void refuse(Reason reason, Map<String, String> metadata) {
    service.refuse(reason, metadata);
  }

  /** Refuses no longer; watching clients get a token. */
  public void accept() {
    service.accept();
  }

  /**
   * Lets time pass for this broker and its clients.
   *
   * @param by how much, forward only
   */
  public void advance(Duration by) {
    service.advance(by);
  }

  /** Lets so much time pass that every token handed out so far has expired; the next call brings a new one. */
  public void expire() {
    service.expire();
  }

  /**
   * Sets what the broker finds out about reported tokens. Default: the provider refuses them, and
   * there is a newer one.
   *
   * @param verdict the verdict
   */
  public void verdict(TokenVerdict verdict) {
    service.verdict(verdict);
  }

  /**
   * Returns how often tokens were asked for.
   *
   * @return the number of GetAccessToken calls so far
   */
  public int calls() {
    return service.calls();
  }

  /**
   * Returns how often tokens were reported as rejected.
   *
   * @return the number of ReportRejectedToken calls so far
   */
  public int reports() {
    return service.reports();
  }

  /** Returns how many watching clients are connected. */
  int watching() {
    return service.watching();
  }

  /** Ends all watches as a broker that stops does. */
  void endWatches() {
    service.endWatches();
  }

  /** Stops the broker; its clients find it unreachable. */
  @Override
  public void close() {
    channels.forEach(ManagedChannel::shutdownNow);
    server.shutdownNow();
  }
}
