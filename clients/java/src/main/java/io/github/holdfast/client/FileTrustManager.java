package io.github.holdfast.client;

import java.io.IOException;
import java.net.Socket;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;

/**
 * The CA of the broker, read again for each handshake. A file that cannot be read leaves the last
 * good one in use. Whether a certificate is the broker's, its host name included, is decided by the
 * platform's own manager.
 */
final class FileTrustManager extends X509ExtendedTrustManager {
  private final Path file;

  // Both are guarded by this.
  private X509Certificate[] certificates;
  private X509ExtendedTrustManager platform;

  FileTrustManager(Path file) throws IOException {
    this.file = file;
    this.certificates = Pem.certificates(file);
    this.platform = platform(certificates);
  }

  private X509ExtendedTrustManager platform(X509Certificate[] cas) throws IOException {
    try {
      KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
      store.load(null, null);
      for (int i = 0; i < cas.length; i++) {
        store.setCertificateEntry("ca-" + i, cas[i]);
      }
      TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
      factory.init(store);
      for (TrustManager m : factory.getTrustManagers()) {
        if (m instanceof X509ExtendedTrustManager x) {
          return x;
        }
      }
    } catch (GeneralSecurityException e) {
      throw new IOException("holdfast: " + file + " holds certificates that cannot be trusted", e);
    }
    throw new IOException("holdfast: this Java has no manager of trust that checks host names");
  }

  private synchronized X509ExtendedTrustManager now() {
    try {
      X509Certificate[] fresh = Pem.certificates(file);
      if (!Arrays.equals(fresh, certificates)) {
        platform = platform(fresh);
        certificates = fresh;
      }
    } catch (IOException e) {
      return platform;
    }
    return platform;
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String authType, SSLEngine engine) throws CertificateException {
    now().checkServerTrusted(chain, authType, engine);
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String authType, Socket socket) throws CertificateException {
    now().checkServerTrusted(chain, authType, socket);
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String authType) throws CertificateException {
    throw new CertificateException("holdfast: the host name cannot be checked without its connection");
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String authType, SSLEngine engine) throws CertificateException {
    throw new CertificateException("holdfast: for clients only");
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String authType, Socket socket) throws CertificateException {
    throw new CertificateException("holdfast: for clients only");
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String authType) throws CertificateException {
    throw new CertificateException("holdfast: for clients only");
  }

  @Override
  public synchronized X509Certificate[] getAcceptedIssuers() {
    return platform.getAcceptedIssuers();
  }
}
