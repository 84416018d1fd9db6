package io.github.holdfast.client;

import io.grpc.NameResolverRegistry;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Where a broker is, as a person writes it. */
final class Target {
  private static final Pattern HOST_PORT = Pattern.compile("(?:\\[[0-9A-Fa-f:.]+]|[^\\s:/\\[\\]@?#%]+):([0-9]{1,5})");
  private static final Pattern SCHEME = Pattern.compile("([A-Za-z][A-Za-z0-9+.-]*):.*");
  private static final int MAX_PORT = 65535;

  private Target() {}

  /**
   * Gives the target back, unless it leads nowhere: grpc-java takes most texts for a name to
   * resolve, and would say at each call that the broker cannot be reached. What begins with a
   * resolver's scheme is that resolver's to judge.
   */
  static String checked(String target) {
    String given = target == null ? "" : target;
    Matcher named = HOST_PORT.matcher(given);
    if (named.matches()) {
      int port = Integer.parseInt(named.group(1));
      if (port > 0 && port <= MAX_PORT) {
        return target;
      }
      throw wrong(target);
    }
    Matcher own = SCHEME.matcher(given);
    if (!own.matches() || NameResolverRegistry.getDefaultRegistry().getProviderForScheme(own.group(1)) == null) {
      throw wrong(target);
    }
    return target;
  }

  static IllegalArgumentException wrong(String target) {
    String shown = target == null ? "null" : "\"" + target + "\"";
    return new IllegalArgumentException(
        "holdfast: target " + shown + ": want host:port, e.g. \"holdfast.internal:7443\", without a scheme or a path");
  }
}
