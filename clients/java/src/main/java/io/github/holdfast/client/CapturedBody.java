package io.github.holdfast.client;

import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodySubscribers;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Flow;

/**
 * The body of a response that may not be the answer: one that is, one that is thrown away, or one
 * that is kept in memory until that is known.
 */
record CapturedBody<T>(T body, byte[] bytes, HttpResponse.ResponseInfo info) {

  static <T> HttpResponse.BodySubscriber<CapturedBody<T>> handled(HttpResponse.BodyHandler<T> handler, HttpResponse.ResponseInfo info) {
    return BodySubscribers.mapping(handler.apply(info), b -> new CapturedBody<>(b, null, info));
  }

  static <T> HttpResponse.BodySubscriber<CapturedBody<T>> discarded() {
    return BodySubscribers.replacing(new CapturedBody<>(null, null, null));
  }

  static <T> HttpResponse.BodySubscriber<CapturedBody<T>> kept(HttpResponse.ResponseInfo info) {
    return BodySubscribers.mapping(BodySubscribers.ofByteArray(), b -> new CapturedBody<>(null, b, info));
  }

  /** Gives the kept bytes to the caller's handler after all. */
  CompletionStage<T> replay(HttpResponse.BodyHandler<T> handler) {
    HttpResponse.BodySubscriber<T> to = handler.apply(info);
    to.onSubscribe(new Flow.Subscription() {
      private boolean over;

      @Override
      public void request(long n) {
        if (!over) {
          over = true;
          if (bytes.length > 0) {
            to.onNext(List.of(ByteBuffer.wrap(bytes).asReadOnlyBuffer()));
          }
          to.onComplete();
        }
      }

      @Override
      public void cancel() {
        over = true;
      }
    });
    return to.getBody();
  }
}
