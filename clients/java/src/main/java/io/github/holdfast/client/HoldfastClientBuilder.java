package io.github.holdfast.client;

import io.grpc.CallCredentials;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.CompositeChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.BooleanSupplier;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/** How to connect to a broker. Not for use by several threads. */
public final class HoldfastClientBuilder {
  /** Names other than localhost do not count: they may resolve to anything. */
  private static final Pattern LOOPBACK = Pattern.compile("(localhost|127(\\.[0-9]{1,3}){3}|\\[[0:]*:0*1\\]):[0-9]+");

  private final String target;
  private final Channel channel;
  private Path cert;
  private Path key;
  private Path ca;
  private Path tokenFile;
  private boolean plaintext;
  private Duration timeout = HoldfastClient.DEFAULT_TIMEOUT;
  private Clock clock = Clock.systemUTC();
  private final List<ClientInterceptor> interceptors = new ArrayList<>();

  HoldfastClientBuilder(String target, Channel channel) {
    this.target = target;
    this.channel = channel;
  }

  /**
   * Sets the PEM files of this caller's certificate and key, and of the CA that signed the broker's
   * certificate. All are read again for every new connection if they have changed, so that renewed
   * ones are used without a restart; while they cannot be read, the last good ones serve. A call
   * after the certificate was renewed makes a new connection.
   *
   * @param cert the certificate, maybe with its chain
   * @param key its private key
   * @param ca the CA; null: the system's
   * @return this
   */
  public HoldfastClientBuilder tlsFiles(Path cert, Path key, Path ca) {
    this.cert = cert;
    this.key = key;
    this.ca = ca;
    return this;
  }

  /**
   * Sets the file of the bearer token that this caller shows instead of a certificate, e.g. a
   * Kubernetes projected service-account token. Both files are read again when they change.
   *
   * @param token the file
   * @param ca PEM file of the CA that signed the broker's certificate; null: the system's
   * @return this
   */
  public HoldfastClientBuilder tokenFile(Path token, Path ca) {
    this.tokenFile = token;
    this.ca = ca;
    return this;
  }

  /**
   * Connects without TLS and without an identity, for tests and a development broker on the same
   * machine. {@link #build} refuses it for any target that is not a loopback address.
   *
   * @return this
   */
  public HoldfastClientBuilder plaintext() {
    this.plaintext = true;
    return this;
  }

  /**
   * Bounds one call to the broker. A call that a source makes is bounded by this alone: a caller
   * that gives up earlier does not cancel it for the others.
   *
   * @param timeout the bound; default {@link HoldfastClient#DEFAULT_TIMEOUT}
   * @return this
   */
  public HoldfastClientBuilder timeout(Duration timeout) {
    if (timeout.isNegative() || timeout.isZero()) {
      throw new IllegalArgumentException("holdfast: the timeout must be positive");
    }
    this.timeout = Outcomes.shorter(timeout, Outcomes.FAR);
    return this;
  }

  /**
   * Adds interceptors of grpc-java, e.g. OpenTelemetry's. A call begins on the thread of the caller
   * that caused it, with its tracing context.
   *
   * @param more interceptors; the first one sees a call first
   * @return this
   */
  public HoldfastClientBuilder interceptors(ClientInterceptor... more) {
    interceptors.addAll(List.of(more));
    return this;
  }

  /**
   * Sets the wall clock that this client sees. It can only make a token older than the monotonic
   * clock says; tests may want to set it.
   *
   * @param clock default: the system's
   * @return this
   */
  public HoldfastClientBuilder clock(Clock clock) {
    this.clock = clock;
    return this;
  }

  /**
   * Makes the client. It does not wait for a connection: that is made by the first call.
   *
   * @return the client, to be closed
   * @throws IOException if a file cannot be read or does not hold what it should
   * @throws IllegalArgumentException if the target leads nowhere, if no identity was chosen, or two
   */
  public HoldfastClient build() throws IOException {
    if (channel != null) {
      return over(channel);
    }
    Target.checked(target);
    checkIdentity();
    FileKeyManager certificate = cert == null ? null : new FileKeyManager(cert, key);
    ChannelCredentials credentials = credentials(certificate);
    ThreadPoolExecutor executor = HoldfastClient.workers();
    ManagedChannelBuilder<?> builder = Grpc.newChannelBuilder(target, credentials)
        .executor(executor)
        .keepAliveTime(HoldfastClient.PING_EVERY.toMillis(), TimeUnit.MILLISECONDS)
        .keepAliveTimeout(HoldfastClient.PING_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS);
    ManagedChannel managed;
    try {
      managed = builder.build();
    } catch (IllegalArgumentException e) {
      throw Target.wrong(target); // with a resolver's scheme, and not what that takes
    }
    BooleanSupplier renewed = certificate == null ? () -> false : certificate::renewed;
    Connection connection = new Connection(managed, new Way(target, cert, ca, tokenFile, plaintext), renewed);
    return new HoldfastClient(executor, intercepted(managed), connection, timeout, clock);
  }

  private HoldfastClient over(Channel theirs) {
    if (cert != null || tokenFile != null || plaintext) {
      throw new IllegalArgumentException("holdfast: the channel has its own identity: choose none here");
    }
    return new HoldfastClient(HoldfastClient.workers(), intercepted(theirs), null, timeout, clock);
  }

  private Channel intercepted(Channel inner) {
    // The list's order is that of the calls' way outward; intercept takes the outermost last.
    List<ClientInterceptor> reversed = new ArrayList<>(interceptors);
    Collections.reverse(reversed);
    return ClientInterceptors.intercept(inner, reversed);
  }

  private void checkIdentity() {
    if (plaintext && (cert != null || tokenFile != null)) {
      throw new IllegalArgumentException("holdfast: choose plaintext or an identity, not both");
    }
    if (cert != null && tokenFile != null) {
      throw new IllegalArgumentException(
          "holdfast: choose tlsFiles or tokenFile: the broker refuses a call that shows a certificate and a token");
    }
    if (plaintext && !LOOPBACK.matcher(target).matches()) {
      throw new IllegalArgumentException(
          "holdfast: plaintext to \"" + target + "\": tokens would cross the network in the clear; use tlsFiles");
    }
    if (!plaintext && tokenFile == null && (cert == null || key == null)) {
      throw new IllegalArgumentException(
          "holdfast: no identity: the broker demands a client certificate or a token; use tlsFiles or tokenFile");
    }
  }

  private ChannelCredentials credentials(FileKeyManager certificate) throws IOException {
    if (plaintext) {
      return InsecureChannelCredentials.create();
    }
    TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
    if (ca != null) {
      tls.trustManager(new FileTrustManager(ca));
    }
    if (certificate != null) {
      return tls.keyManager(certificate).build();
    }
    CallCredentials token = new TokenFileCredentials(tokenFile, System::nanoTime);
    return CompositeChannelCredentials.create(tls.build(), token);
  }
}
