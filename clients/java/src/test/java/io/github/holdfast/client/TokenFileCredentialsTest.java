package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TokenFileCredentialsTest {
  @TempDir private Path dir;
  private final ManualTiming timing = new ManualTiming();

  @Test
  void aReplacedTokenIsShownAfterAWhileAndABrokenFileChangesNothing() throws IOException {
    Path file = Files.writeString(dir.resolve("token"), " one \n");
    TokenFileCredentials c = new TokenFileCredentials(file, timing::nanos);
    Files.writeString(file, "two");
    assertEquals("Bearer one", c.header());
    timing.pass(TokenFileCredentials.INTERVAL);
    assertEquals("Bearer two", c.header());
    Files.delete(file);
    timing.pass(TokenFileCredentials.INTERVAL);
    assertEquals("Bearer two", c.header());
    Files.writeString(file, "three");
    assertEquals("Bearer three", c.header());
  }

  @Test
  void aFileThatHoldsNoTokenIsAMistake() throws IOException {
    for (String text : new String[] {"", " \n", "two tokens", "line\nline"}) {
      Path file = Files.writeString(dir.resolve("token"), text);
      assertThrows(IOException.class, () -> new TokenFileCredentials(file, timing::nanos));
    }
  }
}
