package io.github.holdfast.client;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.SignatureException;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Reads certificates and private keys from PEM files. Errors name the file, never its content. */
final class Pem {
  private static final Pattern KEY = Pattern.compile("-----BEGIN ((?:RSA |EC |)PRIVATE KEY)-----([A-Za-z0-9+/=\\s]+)-----END \\1-----");

  /** AlgorithmIdentifier of RSA: the OID 1.2.840.113549.1.1.1 and NULL. */
  private static final byte[] RSA = {0x30, 0x0d, 0x06, 0x09, 0x2a, (byte) 0x86, 0x48, (byte) 0x86, (byte) 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};

  /** The OID 1.2.840.10045.2.1 of elliptic curve keys. */
  private static final byte[] EC = {0x06, 0x07, 0x2a, (byte) 0x86, 0x48, (byte) 0xce, 0x3d, 0x02, 0x01};

  private Pem() {}

  /** The file's content; the JDK's own messages are often the path alone. */
  static byte[] bytes(Path file) throws IOException {
    try {
      return Files.readAllBytes(file);
    } catch (NoSuchFileException e) {
      throw new IOException("holdfast: there is no file " + file, e);
    } catch (AccessDeniedException e) {
      throw new IOException("holdfast: " + file + " may not be read by this process", e);
    } catch (IOException e) {
      throw new IOException("holdfast: reading " + file + ": " + e.getMessage(), e);
    }
  }

  /** Checks, by a signature, that a key is the one of a certificate. */
  static void match(X509Certificate certificate, PrivateKey key) throws GeneralSecurityException {
    String algorithm = switch (key.getAlgorithm()) {
      case "RSA" -> "SHA256withRSA";
      case "EC" -> "SHA256withECDSA";
      default -> key.getAlgorithm();
    };
    byte[] text = "which key is this?".getBytes(StandardCharsets.US_ASCII);
    Signature signing = Signature.getInstance(algorithm);
    signing.initSign(key);
    signing.update(text);
    Signature checking = Signature.getInstance(algorithm);
    checking.initVerify(certificate.getPublicKey());
    checking.update(text);
    if (!checking.verify(signing.sign())) {
      throw new SignatureException("of another key");
    }
  }

  static X509Certificate[] certificates(Path file) throws IOException {
    List<X509Certificate> found = new ArrayList<>();
    try {
      CertificateFactory factory = CertificateFactory.getInstance("X.509");
      for (Certificate c : factory.generateCertificates(new ByteArrayInputStream(bytes(file)))) {
        found.add((X509Certificate) c);
      }
    } catch (GeneralSecurityException e) {
      throw new IOException("holdfast: " + file + " does not hold PEM certificates", e);
    }
    if (found.isEmpty()) {
      throw new IOException("holdfast: " + file + " holds no PEM certificate");
    }
    return found.toArray(X509Certificate[]::new);
  }

  static PrivateKey key(Path file) throws IOException {
    Matcher m = KEY.matcher(new String(bytes(file), StandardCharsets.ISO_8859_1));
    if (!m.find()) {
      throw new IOException("holdfast: " + file + " holds no PEM private key; it must not be encrypted");
    }
    byte[] der;
    try {
      der = Base64.getMimeDecoder().decode(m.group(2));
    } catch (IllegalArgumentException e) {
      throw new IOException("holdfast: the private key in " + file + " is no base64");
    }
    byte[] pkcs8 = switch (m.group(1)) {
      case "RSA PRIVATE KEY" -> wrapped(RSA, der);
      case "EC PRIVATE KEY" -> wrapped(element(0x30, EC, curve(der, file)), der);
      default -> der;
    };
    for (String algorithm : List.of("EC", "RSA", "EdDSA")) {
      try {
        return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(pkcs8));
      } catch (GeneralSecurityException e) {
        continue; // of another algorithm
      }
    }
    throw new IOException("holdfast: the private key in " + file + " is of no kind that can be read: use RSA, EC or EdDSA");
  }

  /** PKCS #8 (RFC 5208): version 0, the algorithm, and the key in the algorithm's own form. */
  private static byte[] wrapped(byte[] algorithm, byte[] key) {
    return element(0x30, new byte[] {2, 1, 0}, algorithm, element(0x04, key));
  }

  /** The curve's OID out of an ECPrivateKey (RFC 5915): its element [0]. */
  private static byte[] curve(byte[] der, Path file) throws IOException {
    for (int i = 0; i + 4 < der.length; i++) {
      // [0] { OID ... }: looked for rather than parsed; the key's own bytes come before it and are
      // random, so that both lengths must fit too.
      if ((der[i] & 0xff) == 0xa0 && der[i + 2] == 0x06 && der[i + 1] == der[i + 3] + 2 && der[i + 3] >= 5 && i + 4 + der[i + 3] <= der.length) {
        byte[] oid = new byte[der[i + 3] + 2];
        System.arraycopy(der, i + 2, oid, 0, oid.length);
        return oid;
      }
    }
    throw new IOException("holdfast: the EC key in " + file + " does not name its curve; convert it: openssl pkcs8 -topk8 -nodes");
  }

  private static byte[] element(int tag, byte[]... parts) {
    int n = 0;
    for (byte[] p : parts) {
      n += p.length;
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(tag);
    if (n < 0x80) {
      out.write(n);
    } else if (n < 0x100) {
      out.write(0x81);
      out.write(n);
    } else {
      out.write(0x82);
      out.write(n >> 8);
      out.write(n);
    }
    for (byte[] p : parts) {
      out.writeBytes(p);
    }
    return out.toByteArray();
  }
}
