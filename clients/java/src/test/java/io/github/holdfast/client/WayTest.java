package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateException;
import java.security.cert.CertificateExpiredException;
import java.util.stream.Stream;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLHandshakeException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** A broker that is not reached: what is wrong, and what to do about it. */
class WayTest {
  private static final Way CERTIFICATE = new Way("h:1", Path.of("me.crt"), Path.of("ca.crt"), null, false);
  private static final Way TOKEN = new Way("h:1", null, null, Path.of("token"), false);
  private static final Way PLAINTEXT = new Way("h:1", null, null, null, true);

  private static Arguments row(Way way, String description, Throwable cause, String want) {
    return Arguments.of(way, Status.UNAVAILABLE.withDescription(description).withCause(cause), want);
  }

  static Stream<Arguments> failures() {
    Throwable expired = new CertificateExpiredException("NotAfter: Wed Jan 01 00:00:00 UTC 2020");
    Throwable path = new CertPathValidatorException("unable to find valid certification path to requested target");
    String io = "io exception\nChannel Pipeline: [SslHandler#0, DefaultChannelPipeline$TailContext#0]";
    return Stream.of(
        row(CERTIFICATE, io, new SSLHandshakeException("PKIX").initCause(path), "not vouched for by the CA file ca.crt: "),
        row(TOKEN, io, new SSLHandshakeException("PKIX").initCause(path), "not vouched for by the system's CAs (no CA file was given): "),
        row(CERTIFICATE, io, new CertPathValidatorException("validity check failed", expired), "is not valid now: "),
        row(CERTIFICATE, io, new CertificateException("No subject alternative names matching IP address 127.0.0.1 found"), "not for the host of h:1: "),
        row(CERTIFICATE, io, new CertificateException("No name matching h found"), "not for the host of h:1: "),
        row(CERTIFICATE, io, new SSLException("not an SSL/TLS record: 48545450"), "what answers at h:1 does not speak TLS: "),
        row(PLAINTEXT, "http2 exception: First received frame was not SETTINGS. Hex dump", null, "what answers at h:1 is no gRPC server: "),
        row(CERTIFICATE, io, new ConnectException("Connection refused: h/127.0.0.1:1"), "nothing listens at h:1: "),
        row(CERTIFICATE, "Unable to resolve host h", null, "the host of h:1 cannot be found: "),
        row(CERTIFICATE, "ssl exception", new SSLException("error:10000418:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA"), "the certificate me.crt if "),
        row(TOKEN, "ssl exception", new SSLException("Received fatal alert: certificate_required"), "(the file token holds a token) if "),
        row(PLAINTEXT, "Network closed for unknown reason", null, "hangs up on a caller without TLS: use tlsFiles"));
  }

  @ParameterizedTest
  @MethodSource("failures")
  void aFailureSaysWhichArgumentIsWrongAndWhatToDo(Way way, Status failure, String want) {
    HoldfastException e = Refusal.of(failure.asRuntimeException(), way);
    assertTrue(e.getMessage().contains(want), e.getMessage());
    assertFalse(e.getMessage().contains("\n") || e.getMessage().contains("Pipeline"), e.getMessage());
    assertTrue(e.isTemporary() && e.reason() == Reason.UNREACHABLE && e.code() == Status.Code.UNAVAILABLE, e.getMessage());
  }

  @Test
  void whatIsNotKnownIsLeftAsItIs() {
    for (Way way : new Way[] {CERTIFICATE, null}) {
      HoldfastException e = Refusal.of(Status.UNAVAILABLE.withDescription("Network closed for unknown reason").asRuntimeException(), way);
      assertEquals("holdfast: UNREACHABLE: Network closed for unknown reason", e.getMessage());
    }
    HoldfastException late = Refusal.of(Status.DEADLINE_EXCEEDED.withDescription("after 1s").asRuntimeException(), CERTIFICATE);
    assertTrue(late.getMessage().contains("the broker at h:1 did not answer in time (gRPC: after 1s)"), late.getMessage());
  }

  @Test
  void aPortOfSomethingElseIsNamed(@TempDir Path dir) throws Exception {
    SelfSigned mine = new SelfSigned();
    Path cert = mine.certificate(dir.resolve("crt"));
    Path key = mine.key(dir.resolve("key"));
    String target;
    Thread answering;
    try (ServerSocket web = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
      target = "127.0.0.1:" + web.getLocalPort();
      answering = new Thread(() -> refuse(web));
      answering.start();
      try (HoldfastClient client = HoldfastClient.builder(target).tlsFiles(cert, key, cert).build()) {
        HoldfastException e = assertThrows(HoldfastException.class, client.tokenSource("acme/automation/jira").build()::get);
        assertTrue(e.getMessage().contains("what answers at " + target + " does not speak TLS"), e.getMessage());
      }
    }
    answering.join();
    try (HoldfastClient client = HoldfastClient.builder(target).tlsFiles(cert, key, cert).build()) {
      HoldfastException e = assertThrows(HoldfastException.class, client.tokenSource("acme/automation/jira").build()::get);
      assertTrue(e.getMessage().contains("nothing listens at " + target), e.getMessage());
    }
  }

  private static void refuse(ServerSocket web) {
    try {
      while (true) {
        try (Socket caller = web.accept()) {
          caller.getInputStream().read();
          caller.getOutputStream().write("HTTP/1.1 400 Bad Request\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
        }
      }
    } catch (IOException e) {
      return; // the test has ended
    }
  }
}
