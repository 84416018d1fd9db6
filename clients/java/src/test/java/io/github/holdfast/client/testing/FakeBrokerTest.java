package io.github.holdfast.client.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.github.holdfast.client.ConsentRequiredException;
import io.github.holdfast.client.BrokerUnavailableException;
import io.github.holdfast.client.HoldfastClient;
import io.github.holdfast.client.Reason;
import io.github.holdfast.client.TokenEvent;
import io.github.holdfast.client.TokenSource;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Flow;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class FakeBrokerTest {
  private final FakeBroker broker = FakeBroker.start();
  private final HoldfastClient client = broker.client();
  private final TokenSource source = client.tokenSource("acme/automation/jira").build();

  @AfterEach
  void stop() {
    client.close();
    broker.close();
  }

  @Test
  void tokensExpireAndAreReplaced() throws Exception {
    assertEquals("fake-token-1", source.get().value());
    broker.rotate();
    assertEquals("fake-token-1", source.get().value());
    broker.expire();
    assertEquals("fake-token-3", source.get().value());
    broker.life(Duration.ofMinutes(30));
    broker.advance(Duration.ofHours(2));
    assertEquals("fake-token-4", source.get().value());
  }

  @Test
  void itRefusesAndAcceptsAgain() throws Exception {
    broker.refuse(Reason.CONSENT_REQUIRED, Map.of("link", "https://h.example.com/c"));
    assertThrows(ConsentRequiredException.class, source::get);
    broker.refuse(Reason.CALLER_RATE_LIMITED, Map.of());
    assertThrows(BrokerUnavailableException.class, source::get);
    broker.advance(Duration.ofSeconds(5));
    broker.accept();
    assertThrows(IllegalArgumentException.class, () -> broker.refuse(Reason.UNREACHABLE, Map.of()));
  }

  @Test
  void aStoppedBrokerIsUnreachable() {
    broker.close();
    assertEquals(Reason.UNREACHABLE, assertThrows(BrokerUnavailableException.class, source::get).reason());
  }

  @Test
  void watchersHearOfEverythingAndComeBack() throws Exception {
    BlockingQueue<Object> heard = new LinkedBlockingQueue<>();
    TokenSource watched = client.tokenSource("acme/automation/confluence").watch(new Flow.Subscriber<>() {
      @Override
      public void onSubscribe(Flow.Subscription s) {
        s.request(Long.MAX_VALUE);
      }

      @Override
      public void onNext(TokenEvent e) {
        heard.add(e);
      }

      @Override
      public void onError(Throwable t) {
        heard.add(t);
      }

      @Override
      public void onComplete() {
        heard.add("complete");
      }
    }).build();
    Object first = heard.poll(10, TimeUnit.SECONDS);
    assertInstanceOf(TokenEvent.Renewed.class, first);
    broker.rotate();
    assertEquals("fake-token-2", ((TokenEvent.Renewed) heard.poll(10, TimeUnit.SECONDS)).token().value());
    assertEquals("fake-token-2", watched.get().value());
    broker.refuse(Reason.GRANT_REVOKED, Map.of());
    assertEquals(Reason.GRANT_REVOKED, ((TokenEvent.Unavailable) heard.poll(10, TimeUnit.SECONDS)).reason().reason());
    assertEquals(0, broker.calls());
    broker.endWatches();
    broker.accept();
    assertEquals("fake-token-2", ((TokenEvent.Renewed) heard.poll(10, TimeUnit.SECONDS)).token().value());
    client.close();
    assertEquals("complete", heard.poll(10, TimeUnit.SECONDS));
  }
}
