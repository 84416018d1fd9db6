package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileKeyManagerTest {
  @TempDir private Path dir;
  private Path cert;
  private Path key;

  @BeforeEach
  void write() throws Exception {
    SelfSigned first = new SelfSigned();
    cert = first.certificate(dir.resolve("crt"));
    key = first.key(dir.resolve("key"));
  }

  @Test
  void aPairThatIsHalfReplacedLeavesTheLastGoodOneInUse() throws Exception {
    FileKeyManager m = new FileKeyManager(cert, key);
    String old = m.chooseEngineClientAlias(null, null, null);
    SelfSigned next = new SelfSigned();
    next.certificate(cert);
    assertEquals(old, m.chooseEngineClientAlias(null, null, null), "a certificate was shown with the key of another one");
    next.key(key);
    String fresh = m.chooseEngineClientAlias(null, null, null);
    assertNotEquals(old, fresh);
    Pem.match(m.getCertificateChain(fresh)[0], m.getPrivateKey(fresh));
    Pem.match(m.getCertificateChain(old)[0], m.getPrivateKey(old)); // of a handshake that began with it
  }

  @Test
  void aRenewedPairIsNoticedOnceUnlessAConnectionHasShownIt() throws Exception {
    FileKeyManager m = new FileKeyManager(cert, key);
    assertFalse(m.renewed());
    SelfSigned next = new SelfSigned();
    next.certificate(cert);
    assertFalse(m.renewed(), "half a pair is none");
    next.key(key);
    assertTrue(m.renewed());
    assertFalse(m.renewed());
    SelfSigned third = new SelfSigned();
    third.certificate(cert);
    third.key(key);
    m.chooseEngineClientAlias(null, null, null);
    assertFalse(m.renewed());
  }

  @Test
  void aKeyOfAnotherCertificateIsAMistakeAtOnce() throws Exception {
    new SelfSigned().key(key);
    IOException e = assertThrows(IOException.class, () -> new FileKeyManager(cert, key));
    assertTrue(e.getMessage().contains(key + " is not that of the certificate in " + cert), e.getMessage());
  }

  @Test
  void aFileThatIsMissingIsNamedInASentence() throws Exception {
    Files.delete(key);
    for (IOException e : new IOException[] {
      assertThrows(IOException.class, () -> new FileKeyManager(cert, key)),
      assertThrows(IOException.class, () -> new FileTrustManager(key)),
      assertThrows(IOException.class, () -> new TokenFileCredentials(key, System::nanoTime)),
    }) {
      assertEquals("holdfast: there is no file " + key, e.getMessage());
    }
  }
}
