package io.github.holdfast.client;

import io.grpc.Status;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Function;

/**
 * How a client goes to its broker, and why it was not reached, in words for whoever set it up. The
 * transport's own name neither the argument that is wrong nor what to do, and differ from version to
 * version: what is not known here is left as it is. A path is null if it was not given.
 */
record Way(String target, Path cert, Path ca, Path tokenFile, boolean plaintext) {

  /** What the transport's text holds, in lower case, and what that means; the first one that fits is told. */
  private record Sign(List<String> words, Function<Way, Optional<String>> meaning) {
    static Sign of(Function<Way, String> meaning, String... words) {
      return new Sign(List.of(words), meaning.andThen(Optional::of));
    }
  }

  private static final List<Sign> SIGNS = List.of(
      Sign.of(w -> "the certificate of the broker at " + w.target
          + " is not valid now: look at the broker's certificate and at this machine's clock",
          "notafter:", "notbefore:", "certificateexpired", "certificatenotyetvalid"),
      Sign.of(w -> "the certificate of the broker at " + w.target + " is not vouched for by " + w.authority()
          + ": name the file of the CA that signed it",
          "certpath", "certification path", "path does not chain", "signature check failed"),
      Sign.of(w -> "the certificate of the broker is not for the host of " + w.target
          + ": connect by a name that stands in it, or have the broker's certificate issued for this one too",
          "subject alternative", "no name matching"),
      Sign.of(w -> "what answers at " + w.target
          + " does not speak TLS: check host and port; plaintext() is for a development broker without TLS on this machine",
          "not an ssl/tls record"),
      Sign.of(w -> "what answers at " + w.target + " is no gRPC server: check the port", "was not settings", "non-grpc"),
      Sign.of(w -> "nothing listens at " + w.target + ": check host and port, and whether the broker runs", "connection refused"),
      Sign.of(w -> "the host of " + w.target + " cannot be found: check its name, and this machine's DNS", "unable to resolve host"),
      // Brokers say so by TLS alone, after a handshake that went well for the client.
      Sign.of(w -> "the broker at " + w.target + " hangs up after the TLS handshake, as it does on " + w.shown()
          + " if its trust does not cover that: use one that its CA signed and that has not expired, or ask an operator which callers it knows",
          "_alert_", "fatal alert"),
      new Sign(List.of("network closed"), w -> w.plaintext
          ? Optional.of("what answers at " + w.target + " hangs up on a caller without TLS: use tlsFiles instead of plaintext()")
          : Optional.empty()));

  private String authority() {
    return ca == null ? "the system's CAs (no CA file was given)" : "the CA file " + ca;
  }

  private String shown() {
    return cert != null ? "the certificate " + cert : "a caller without a certificate (the file " + tokenFile + " holds a token)";
  }

  /** The meaning of a failure that no broker told; empty: not known. */
  Optional<String> meaning(Status failure) {
    String text = text(failure);
    for (Sign s : SIGNS) {
      if (s.words.stream().anyMatch(text::contains)) {
        return s.meaning.apply(this);
      }
    }
    return failure.getCode() == Status.Code.DEADLINE_EXCEEDED
        ? Optional.of("the broker at " + target + " did not answer in time") : Optional.empty();
  }

  /** All that is said about a failure: what counts may stand at any depth. */
  private static String text(Status failure) {
    StringBuilder text = new StringBuilder().append(failure.getDescription());
    Throwable t = failure.getCause();
    for (int depth = 0; t != null && depth < 20; depth++, t = t.getCause()) {
      text.append('\n').append(t);
    }
    return text.toString().toLowerCase(Locale.ROOT);
  }
}
