package io.github.holdfast.client;

import io.grpc.Status;
import java.net.URI;
import java.net.URISyntaxException;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.TreeSet;

/**
 * The origins that may see a token: scheme, host and port, the default port spelled out. Those
 * given, or else the one of the token's API base URL alone.
 */
public final class Origins {
  private final List<String> given;

  private Origins(Collection<String> origins) {
    TreeSet<String> all = new TreeSet<>();
    for (String o : origins) {
      all.add(of(parsed(o)));
    }
    given = List.copyOf(all);
  }

  private static URI parsed(String origin) {
    try {
      URI u = new URI(origin);
      if (u.getScheme() != null && u.getHost() != null) {
        return u;
      }
    } catch (URISyntaxException e) {
      // said below
    }
    throw new IllegalArgumentException("holdfast: origin \"" + origin + "\": want scheme://host[:port]");
  }

  /**
   * Returns the origins that may see a token.
   *
   * @param origins each as {@code scheme://host[:port]}; empty: the origin of the API base URL that
   *     the broker names for the site
   * @return the origins
   * @throws IllegalArgumentException for what is no origin
   */
  public static Origins of(Collection<String> origins) {
    return new Origins(origins);
  }

  /**
   * Reports whether a token may go to a URL.
   *
   * @param url where a request goes
   * @param token what would go with it
   * @return true if it may
   */
  public boolean allow(URI url, AccessToken token) {
    String origin = of(url);
    if (origin.isEmpty()) {
      return false;
    }
    return given.isEmpty() ? !token.apiBaseUrl().isEmpty() && origin.equals(of(URI.create(token.apiBaseUrl()))) : given.contains(origin);
  }

  /**
   * Returns the exception that says why a token does not go to a URL.
   *
   * @param url where it does not go
   * @param token what does not go there
   * @return the exception
   */
  public RefusedOriginException refusal(URI url, AccessToken token) {
    String allowed = given.isEmpty() ? token.apiBaseUrl() : String.join(", ", given);
    if (allowed.isEmpty()) {
      allowed = "none, since the grant has no site or several";
    }
    return (RefusedOriginException) Refusal.own(Reason.REFUSED_ORIGIN, Status.Code.OK,
        "refusing to send the token to " + (of(url).isEmpty() ? "a URL without a host" : of(url)) + ": allowed are " + allowed).thrown(null);
  }

  /**
   * scheme://host:port in lower case; empty: it has none. A host that is no DNS name, e.g. with an
   * underscore, is none to java.net.URI: such a one is told from others as it is written.
   */
  static String of(URI u) {
    if (u.getScheme() == null || u.getRawAuthority() == null) {
      return "";
    }
    String scheme = u.getScheme().toLowerCase(Locale.ROOT);
    if (u.getHost() == null) {
      return scheme + "://" + u.getRawAuthority().toLowerCase(Locale.ROOT);
    }
    int port = u.getPort();
    if (port < 0) {
      port = scheme.equals("https") ? 443 : scheme.equals("http") ? 80 : -1;
    }
    return scheme + "://" + u.getHost().toLowerCase(Locale.ROOT) + ":" + port;
  }

  /** The full URL of a path, maybe with a query, under an API base URL. */
  static URI resolve(String apiBase, String path) {
    if (apiBase.isEmpty()) {
      throw new IllegalArgumentException(
          "holdfast: the grant has no site or several, so there is no API base URL; choose one with TokenSource.Builder.site");
    }
    URI relative = URI.create(path);
    if (relative.isAbsolute() || relative.getRawAuthority() != null || relative.isOpaque()) {
      throw new IllegalArgumentException("holdfast: \"" + path + "\" is no path under the site's API base URL");
    }
    for (String segment : relative.getPath().split("/")) {
      if (segment.equals("..")) {
        throw new IllegalArgumentException("holdfast: \"" + path + "\" leaves the site's API: remove the \"..\"");
      }
    }
    return URI.create(apiBase + (path.startsWith("/") ? "" : "/") + path);
  }
}
