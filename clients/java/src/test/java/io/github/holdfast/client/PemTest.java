package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.interfaces.ECPrivateKey;
import java.security.spec.ECGenParameterSpec;
import java.util.Arrays;
import java.util.Base64;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PemTest {
  /** Bytes before the PKCS #1 key in a PKCS #8 key of 2048 bits. */
  private static final int RSA_WRAPPER = 26;

  @TempDir private Path dir;

  private Path write(String label, byte[] der) throws IOException {
    String text = "-----BEGIN " + label + "-----\n" + Base64.getMimeEncoder().encodeToString(der) + "\n-----END " + label + "-----\n";
    return Files.writeString(dir.resolve("key"), "a comment\n" + text);
  }

  @ParameterizedTest
  @ValueSource(strings = {"RSA", "EC", "Ed25519"})
  void keysOfAllKindsAreRead(String algorithm) throws Exception {
    KeyPair pair = KeyPairGenerator.getInstance(algorithm).generateKeyPair();
    assertEquals(pair.getPrivate(), Pem.key(write("PRIVATE KEY", pair.getPrivate().getEncoded())));
  }

  @Test
  void theOldFormOfRsaKeysIsRead() throws Exception {
    KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
    generator.initialize(2048);
    KeyPair pair = generator.generateKeyPair();
    byte[] der = pair.getPrivate().getEncoded();
    assertEquals(pair.getPrivate(), Pem.key(write("RSA PRIVATE KEY", Arrays.copyOfRange(der, RSA_WRAPPER, der.length))));
  }

  @Test
  void theOldFormOfEllipticCurveKeysIsRead() throws Exception {
    KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
    generator.initialize(new ECGenParameterSpec("secp256r1"));
    ECPrivateKey key = (ECPrivateKey) generator.generateKeyPair().getPrivate();
    ByteArrayOutputStream der = new ByteArrayOutputStream();
    der.writeBytes(new byte[] {0x30, 0x31, 2, 1, 1, 4, 32});
    der.writeBytes(fixed(key.getS()));
    der.writeBytes(new byte[] {(byte) 0xa0, 10, 6, 8, 0x2a, (byte) 0x86, 0x48, (byte) 0xce, 0x3d, 3, 1, 7});
    assertEquals(key.getS(), ((ECPrivateKey) Pem.key(write("EC PRIVATE KEY", der.toByteArray()))).getS());
  }

  private static byte[] fixed(BigInteger n) {
    byte[] b = n.toByteArray();
    byte[] out = new byte[32];
    int from = Math.max(0, b.length - 32);
    System.arraycopy(b, from, out, 32 - (b.length - from), b.length - from);
    return out;
  }

  @Test
  void aMistakeNamesTheFileAndNotItsContent() throws Exception {
    Path none = Files.writeString(dir.resolve("none"), "secret text");
    for (IOException e : new IOException[] {
      assertThrows(IOException.class, () -> Pem.key(none)),
      assertThrows(IOException.class, () -> Pem.certificates(none)),
      assertThrows(IOException.class, () -> Pem.key(write("EC PRIVATE KEY", new byte[20]))),
      assertThrows(IOException.class, () -> Pem.key(write("PRIVATE KEY", new byte[20]))),
    }) {
      assertEquals(true, e.getMessage().contains(dir.toString()), e.getMessage());
      assertFalse(e.getMessage().contains("secret text"), e.getMessage());
    }
  }
}
