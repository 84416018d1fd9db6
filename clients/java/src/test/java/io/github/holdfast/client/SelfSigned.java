package io.github.holdfast.client;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Signature;
import java.util.Base64;

/** A certificate with its key, as files: just enough of X.509 (RFC 5280) to be one. */
final class SelfSigned {
  private static final byte[] ECDSA_WITH_SHA256 = {0x30, 10, 6, 8, 0x2a, (byte) 0x86, 0x48, (byte) 0xce, 0x3d, 4, 3, 2};
  private static final byte[] NAME = {0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, 'x'};

  private final KeyPair pair;
  private final byte[] certificate;

  SelfSigned() throws GeneralSecurityException {
    KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
    generator.initialize(256);
    pair = generator.generateKeyPair();
    byte[] from = element(0x17, "250101000000Z".getBytes(StandardCharsets.US_ASCII));
    byte[] to = element(0x17, "450101000000Z".getBytes(StandardCharsets.US_ASCII));
    byte[] body = element(0x30, new byte[] {(byte) 0xa0, 3, 2, 1, 2}, new byte[] {2, 1, 1}, ECDSA_WITH_SHA256, NAME,
        element(0x30, from, to), NAME, pair.getPublic().getEncoded());
    Signature s = Signature.getInstance("SHA256withECDSA");
    s.initSign(pair.getPrivate());
    s.update(body);
    certificate = element(0x30, body, ECDSA_WITH_SHA256, element(3, new byte[] {0}, s.sign()));
  }

  private static byte[] element(int tag, byte[]... parts) {
    ByteArrayOutputStream content = new ByteArrayOutputStream();
    for (byte[] p : parts) {
      content.writeBytes(p);
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(tag);
    if (content.size() >= 0x80) {
      out.write(0x82);
      out.write(content.size() >> 8);
    }
    out.write(content.size());
    out.writeBytes(content.toByteArray());
    return out.toByteArray();
  }

  Path certificate(Path file) throws IOException {
    return write(file, "CERTIFICATE", certificate);
  }

  Path key(Path file) throws IOException {
    return write(file, "PRIVATE KEY", pair.getPrivate().getEncoded());
  }

  private static Path write(Path file, String label, byte[] der) throws IOException {
    return Files.writeString(file, "-----BEGIN " + label + "-----\n" + Base64.getMimeEncoder().encodeToString(der) + "\n-----END " + label + "-----\n");
  }
}
