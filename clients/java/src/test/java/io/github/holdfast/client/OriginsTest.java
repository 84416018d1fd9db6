package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.holdfast.v1.GetAccessTokenResponse;
import java.net.URI;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class OriginsTest {
  private static AccessToken token(String apiBase) throws HoldfastException {
    GetAccessTokenResponse answer = new VirtualBroker(new ManualTiming()).token().toBuilder().setApiBaseUrl(apiBase).build();
    return AccessToken.of(answer, 0, 0);
  }

  /** To java.net.URI a host with an underscore is none, and two of them would be the same one. */
  @ParameterizedTest
  @CsvSource({
    "https://api_gw.internal/ex, https://api_gw.internal/x, true",
    "https://api_gw.internal/ex, https://API_GW.internal/x, true",
    "https://api_gw.internal/ex, https://evil_host.example.com/x, false",
    "https://api_gw.internal/ex, https://api_gw.internal:444/x, false",
    "https://api_gw.internal/ex, https://api_gw.internal@evil_host/x, false",
    "https://api_gw.internal/ex, http://api_gw.internal/x, false",
    "https://api_gw.internal/ex, https://null/x, false",
    "https://api.example.com/ex, https://API.example.com:443/x, true",
    "https://api.example.com/ex, https://api.example.com@evil.example.com/x, false",
    "file:/ex, file:/ex, false",
    "mailto:a, mailto:a, false",
  })
  void aTokenGoesToItsOwnHostAlone(String base, URI url, boolean may) throws HoldfastException {
    assertEquals(may, Origins.of(List.of()).allow(url, token(base)));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "api.example.com", "a b", "https://", "https:/x", "https://a b", "%zz"})
  void whatIsNoOriginIsRefusedWithWhatToWrite(String origin) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> Origins.of(List.of(origin)));
    assertTrue(e.getMessage().contains("want scheme://host[:port]"), e.getMessage());
  }

  @Test
  void theRefusalOfAUrlWithoutAHostIsNoNullPointer() throws HoldfastException {
    assertFalse(Origins.of(List.of()).refusal(URI.create("mailto:a"), token("")).getMessage().contains("null"));
  }
}
