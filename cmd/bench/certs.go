package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Names in the certificates of a run.
const (
	serverName = "holdfast.bench"
	callerName = "bench-caller"
	// hostileName is that of a caller whose certificate was stolen.
	hostileName = "hostile-caller"
)

// tlsFiles are the certificates of one run, in one directory.
type tlsFiles struct{ Dir string }

func (t tlsFiles) path(name string) string { return filepath.Join(t.Dir, name) }

// writeTLSFiles makes a CA, a server certificate and a client certificate that
// live for a day: ECDSA on P-256, as common as it gets.
func writeTLSFiles(dir string) (tlsFiles, error) {
	t := tlsFiles{Dir: dir}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return t, err
	}
	ca := template(1, "bench CA")
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return t, fmt.Errorf("making the CA certificate: %w", err)
	}
	server := template(2, serverName)
	server.DNSNames = []string{serverName}
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	client := template(3, callerName)
	client.DNSNames = []string{callerName}
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	hostile := template(4, hostileName)
	hostile.DNSNames = []string{hostileName}
	hostile.ExtKeyUsage = client.ExtKeyUsage
	return t, errors.Join(
		t.writeLeaf("hostile", hostile, ca, caKey),
		writePEM(t.path("ca.crt"), "CERTIFICATE", caDER),
		t.writeLeaf("server", server, ca, caKey),
		t.writeLeaf("client", client, ca, caKey))
}

func template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func (t tlsFiles) writeLeaf(name string, leaf, ca *x509.Certificate, caKey *ecdsa.PrivateKey) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return fmt.Errorf("making the %s certificate: %w", name, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(t.path(name+".crt"), "CERTIFICATE", der),
		writePEM(t.path(name+".key"), "PRIVATE KEY", keyDER))
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func (t tlsFiles) pool() (*x509.CertPool, error) {
	pem, err := os.ReadFile(t.path("ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the CA file holds no certificate")
	}
	return pool, nil
}

// serverConfig demands client certificates, as serve does.
func (t tlsFiles) serverConfig() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.path("server.crt"), t.path("server.key"))
	if err != nil {
		return nil, fmt.Errorf("loading the server certificate: %w", err)
	}
	pool, err := t.pool()
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		MinVersion:   tls.VersionTLS13,
	}, err
}

func (t tlsFiles) clientConfig() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.path("client.crt"), t.path("client.key"))
	if err != nil {
		return nil, fmt.Errorf("loading the client certificate: %w", err)
	}
	pool, err := t.pool()
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		RootCAs:      pool,
		ServerName:   serverName,
		MinVersion:   tls.VersionTLS13,
	}, err
}
