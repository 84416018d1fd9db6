package io.github.holdfast.client.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.github.holdfast.client.ConsentRequiredException;
import io.github.holdfast.client.HoldfastException;
import io.github.holdfast.client.InvalidRequestException;
import io.github.holdfast.client.Reason;
import io.github.holdfast.client.ScopeNotGrantedException;
import io.github.holdfast.client.SiteAmbiguousException;
import io.github.holdfast.client.SiteNotGrantedException;
import io.grpc.Status;
import java.net.URI;
import java.util.List;
import java.util.Optional;

/** Shows the client's typed exceptions as the suite's protocol has them. */
final class Errors {
  private Errors() {}

  static JsonObject answer(Throwable e) {
    if (!(e instanceof HoldfastException h)) {
      e.printStackTrace();
      return answer("BUG", String.valueOf(e));
    }
    String reason = h.reason() == Reason.UNREACHABLE ? "UNAVAILABLE" : h.reasonName();
    JsonObject a = answer(reason, h.getMessage());
    JsonObject shown = a.getAsJsonObject("error");
    shown.addProperty("code", h.code() == Status.Code.OK ? "" : h.code().name());
    shown.addProperty("retry_after_ms", h.retryAfter().toMillis());
    shown.addProperty("request_id", h.requestId());
    if (h instanceof ConsentRequiredException c) {
      link(shown, c.link());
      shown.addProperty("why", c.why());
    } else if (h instanceof SiteNotGrantedException s) {
      link(shown, s.link());
      shown.add("sites", array(List.of(s.sites())));
    } else if (h instanceof SiteAmbiguousException s) {
      shown.add("sites", array(List.of(s.sites())));
    } else if (h instanceof ScopeNotGrantedException s) {
      link(shown, s.link());
      shown.add("missing", array(s.missing()));
    } else if (h instanceof InvalidRequestException i) {
      shown.addProperty("field", i.field());
    }
    return a;
  }

  static JsonObject answer(String reason, String message) {
    JsonObject shown = new JsonObject();
    shown.addProperty("reason", reason);
    shown.addProperty("message", message);
    JsonObject a = new JsonObject();
    a.add("error", shown);
    return a;
  }

  private static void link(JsonObject shown, Optional<URI> link) {
    shown.addProperty("link", link.map(URI::toString).orElse(""));
  }

  private static JsonArray array(List<String> words) {
    JsonArray a = new JsonArray();
    words.forEach(a::add);
    return a;
  }
}
