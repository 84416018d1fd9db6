package io.github.holdfast.client;

import io.github.holdfast.v1.GetAccessTokenRequest;
import io.github.holdfast.v1.GetAccessTokenResponse;
import io.github.holdfast.v1.ReportRejectedTokenRequest;
import io.github.holdfast.v1.ReportRejectedTokenResponse;
import io.github.holdfast.v1.TokenServiceGrpc;
import io.github.holdfast.v1.TokenVerdict;
import io.github.holdfast.v1.WatchAccessTokenRequest;
import io.github.holdfast.v1.WatchAccessTokenResponse;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ConnectivityState;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;

/** The calls to a broker over gRPC; those under way end with it. */
final class GrpcBroker implements Broker {
  private final Channel channel;
  private final Connection connection; // null: the channel is the caller's
  private final Executor executor;

  /** Held while a call finds out that the certificate was renewed and leaves the connection before. */
  private final Object freshening = new Object();

  // Both are guarded by calls.
  private final Set<ClientCall<?, ?>> calls = new HashSet<>();
  private boolean closed;

  GrpcBroker(Channel channel, Connection connection, Executor executor) {
    this.channel = channel;
    this.connection = connection;
    this.executor = executor;
  }

  @Override
  public CompletableFuture<GetAccessTokenResponse> get(GetAccessTokenRequest request, Duration deadline) {
    return unary(TokenServiceGrpc.getGetAccessTokenMethod(), request, deadline);
  }

  @Override
  public CompletableFuture<TokenVerdict> report(ReportRejectedTokenRequest request, Duration deadline) {
    return unary(TokenServiceGrpc.getReportRejectedTokenMethod(), request, deadline).thenApply(ReportRejectedTokenResponse::getVerdict);
  }

  private <Q, A> CompletableFuture<A> unary(MethodDescriptor<Q, A> method, Q request, Duration deadline) {
    CompletableFuture<A> result = new CompletableFuture<>();
    start(method, request, deadline, new Heard<A>() {
      private A answer;

      @Override
      void message(A a) {
        answer = a;
      }

      @Override
      void ended(Throwable why) {
        if (why != null) {
          result.completeExceptionally(why);
        } else if (answer == null) {
          result.completeExceptionally(Status.INTERNAL.withDescription("the call ended without an answer").asRuntimeException());
        } else {
          result.complete(answer);
        }
      }
    });
    return result;
  }

  @Override
  public Runnable watch(WatchAccessTokenRequest request, Duration atMost, Sink sink) {
    ClientCall<?, ?> call = start(TokenServiceGrpc.getWatchAccessTokenMethod(), request, atMost, new Heard<WatchAccessTokenResponse>() {
      @Override
      void opened() {
        sink.opened();
      }

      @Override
      void message(WatchAccessTokenResponse m) {
        sink.message(m);
      }

      @Override
      void ended(Throwable why) {
        sink.ended(why != null ? why : Status.UNAVAILABLE.withDescription("the stream ended").asRuntimeException());
      }
    });
    return () -> {
      if (call != null) {
        call.cancel("no longer watched", null);
      }
    };
  }

  /** What comes of a call; ended comes last, once, with null if all went well. */
  private abstract static class Heard<A> {
    void opened() {}

    abstract void message(A a);

    abstract void ended(Throwable why);
  }

  /**
   * Starts a call on the caller's thread, so that interceptors find the caller's tracing context,
   * but apart from the caller's gRPC context: others wait for the call too, and must not lose it
   * when the server call that the first one works on ends.
   */
  private <Q, A> ClientCall<Q, A> start(MethodDescriptor<Q, A> method, Q request, Duration deadline, Heard<A> heard) {
    Context apart = Context.current().fork();
    Context before = apart.attach();
    try {
      CallOptions options = CallOptions.DEFAULT.withExecutor(executor).withDeadlineAfter(deadline.toNanos(), TimeUnit.NANOSECONDS);
      if (connection != null) {
        freshen(connection);
      }
      ClientCall<Q, A> call = channel.newCall(method, options);
      if (!enter(call)) {
        heard.ended(Outcomes.closed());
        return null;
      }
      try {
        call.start(listener(call, heard), new Metadata());
        call.request(1);
        call.sendMessage(request);
        call.halfClose();
        return call;
      } catch (RuntimeException | Error e) {
        call.cancel("it could not be started", e);
        leave(call);
        throw e;
      }
    } catch (RuntimeException | Error e) {
      heard.ended(e); // of somebody's interceptor; others wait for the call's end too
      return null;
    } finally {
      apart.detach(before);
    }
  }

  private void freshen(Connection connection) {
    // As one step: only the first call hears that it was renewed, and another one that does not
    // would begin over the connection before, which is not left yet.
    synchronized (freshening) {
      if (connection.renewed().getAsBoolean()) {
        // Broker and TLS judge a connection by the certificate that it began with. Calls under way go on.
        connection.channel().enterIdle();
      }
    }
    if (connection.channel().getState(false) == ConnectivityState.TRANSIENT_FAILURE) {
      connection.channel().resetConnectBackoff(); // the callers' own distance between calls is enough
    }
  }

  private <Q, A> ClientCall.Listener<A> listener(ClientCall<Q, A> call, Heard<A> heard) {
    return new ClientCall.Listener<>() {
      @Override
      public void onHeaders(Metadata headers) {
        heard.opened();
      }

      @Override
      public void onMessage(A message) {
        heard.message(message);
        call.request(1);
      }

      @Override
      public void onClose(Status status, Metadata trailers) {
        try {
          heard.ended(status.isOk() ? null : Refusal.of(status.asRuntimeException(trailers), connection == null ? null : connection.way()));
        } finally {
          leave(call);
        }
      }
    };
  }

  private boolean enter(ClientCall<?, ?> call) {
    synchronized (calls) {
      return !closed && calls.add(call);
    }
  }

  private void leave(ClientCall<?, ?> call) {
    synchronized (calls) {
      calls.remove(call);
      calls.notifyAll();
    }
  }

  /** Cancels all calls under way, refuses those yet to come, and waits for their ends. */
  void close(Duration atMost) throws InterruptedException {
    List<ClientCall<?, ?>> now;
    synchronized (calls) {
      closed = true;
      now = List.copyOf(calls);
    }
    for (ClientCall<?, ?> call : now) {
      call.cancel("the client is closed", null);
    }
    long end = System.nanoTime() + atMost.toNanos();
    synchronized (calls) {
      for (long left = atMost.toMillis(); !calls.isEmpty() && left > 0; left = (end - System.nanoTime()) / 1_000_000L) {
        calls.wait(left);
      }
    }
  }
}
