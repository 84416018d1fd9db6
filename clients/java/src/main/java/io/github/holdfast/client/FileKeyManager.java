package io.github.holdfast.client;

import java.io.IOException;
import java.net.Socket;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedKeyManager;

/**
 * This caller's certificate and key, read again for each handshake, so that a renewed certificate
 * is used without a restart. Files that cannot be read, or are just being replaced, leave the last
 * good pair in use.
 */
final class FileKeyManager extends X509ExtendedKeyManager {
  private final Path certFile;
  private final Path keyFile;

  private record Pair(String alias, X509Certificate[] chain, PrivateKey key) {}

  // Guarded by this. The one before is kept for a handshake that began with it.
  private Pair pair;
  private Pair before;
  private int count;

  FileKeyManager(Path certFile, Path keyFile) throws IOException {
    this.certFile = certFile;
    this.keyFile = keyFile;
    this.pair = read(0);
    this.before = pair;
  }

  private Pair read(int n) throws IOException {
    X509Certificate[] chain = Pem.certificates(certFile);
    PrivateKey key = Pem.key(keyFile);
    try {
      Pem.match(chain[0], key);
    } catch (GeneralSecurityException e) {
      // A mistake, or one of the two is replaced and the other is not yet.
      throw new IOException("holdfast: the key in " + keyFile + " is not that of the certificate in " + certFile, e);
    }
    return new Pair("files-" + n, chain, key);
  }

  private synchronized String choose() {
    try {
      Pair fresh = read(count + 1);
      if (!fresh.chain[0].equals(pair.chain[0]) || !fresh.key.equals(pair.key)) {
        count++;
        before = pair;
        pair = fresh;
      }
    } catch (IOException e) {
      return pair.alias; // the last good pair; the broker says if it has ended
    }
    return pair.alias;
  }

  /**
   * Reports whether the files hold another pair than when they were last read, and takes it: a
   * connection that stands shows the one before, which will end.
   */
  synchronized boolean renewed() {
    String last = pair.alias;
    return !choose().equals(last);
  }

  private synchronized Pair named(String alias) {
    return before.alias.equals(alias) ? before : pair;
  }

  @Override
  public String chooseEngineClientAlias(String[] keyTypes, Principal[] issuers, SSLEngine engine) {
    return choose();
  }

  @Override
  public String chooseClientAlias(String[] keyTypes, Principal[] issuers, Socket socket) {
    return choose();
  }

  @Override
  public String[] getClientAliases(String keyType, Principal[] issuers) {
    return new String[] {choose()};
  }

  @Override
  public X509Certificate[] getCertificateChain(String alias) {
    return named(alias).chain.clone();
  }

  @Override
  public PrivateKey getPrivateKey(String alias) {
    return named(alias).key;
  }

  @Override
  public String[] getServerAliases(String keyType, Principal[] issuers) {
    return null;
  }

  @Override
  public String chooseServerAlias(String keyType, Principal[] issuers, Socket socket) {
    return null;
  }
}
