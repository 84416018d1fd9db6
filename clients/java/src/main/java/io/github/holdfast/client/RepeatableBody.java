package io.github.holdfast.client;

import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.nio.ByteBuffer;
import java.util.Set;
import java.util.concurrent.Flow;

/**
 * Marks a request's body as one that can be published twice, so that {@link AuthorizedHttpClient}
 * may repeat the request when the API refused the token. Bodies from
 * {@link BodyPublishers#ofString}, {@link BodyPublishers#ofByteArray} and
 * {@link BodyPublishers#noBody} need no mark; one from {@link BodyPublishers#ofInputStream} can be
 * marked if its supplier opens a new stream each time.
 */
public final class RepeatableBody implements BodyPublisher {
  private final BodyPublisher body;

  private RepeatableBody(BodyPublisher body) {
    this.body = body;
  }

  /**
   * Marks a body.
   *
   * @param body one that can be subscribed to twice and publishes the same both times
   * @return the same body, marked
   */
  public static BodyPublisher of(BodyPublisher body) {
    return new RepeatableBody(body);
  }

  @Override
  public long contentLength() {
    return body.contentLength();
  }

  @Override
  public void subscribe(Flow.Subscriber<? super ByteBuffer> subscriber) {
    body.subscribe(subscriber);
  }

  /** The JDK's own publishers that keep their bytes. Any other may be a stream. */
  static Set<Class<?>> kept() {
    return Set.of(
        BodyPublishers.noBody().getClass(), BodyPublishers.ofByteArray(new byte[1]).getClass(), BodyPublishers.ofString("x").getClass());
  }

  static boolean repeatable(HttpRequest request, Set<Class<?>> kept) {
    return request.bodyPublisher().map(b -> b instanceof RepeatableBody || kept.contains(b.getClass())).orElse(true);
  }
}
