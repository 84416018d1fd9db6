// Package devca owns the certificates of dev mode: a CA, a server certificate
// for loopback and a client certificate, made once and kept in one directory.
// Nothing but dev mode may use it: the CA's key lies beside its certificate.
package devca

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

// The files in the directory.
const (
	CACert     = "ca.crt"
	CAKey      = "ca.key"
	ServerCert = "server.crt"
	ServerKey  = "server.key"
	ClientCert = "client.crt"
	ClientKey  = "client.key"
)

const (
	// life of every certificate; a development directory is seldom older.
	life = 365 * 24 * time.Hour
	// renewBefore their end all are made anew.
	renewBefore = 24 * time.Hour
)

// Ensure makes the files in dir unless all are there and good for another day.
// clientName becomes the common name of the client certificate.
func Ensure(dir, clientName string, now time.Time) error {
	if usable(dir, clientName, now) {
		return nil
	}
	ca, err := newPair(&x509.Certificate{
		Subject: pkix.Name{CommonName: "holdfast development CA, never trust it elsewhere"},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		MaxPathLenZero: true,
	}, nil, now)
	if err != nil {
		return err
	}
	server, err := newPair(&x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, now)
	if err != nil {
		return err
	}
	client, err := newPair(&x509.Certificate{
		Subject:  pkix.Name{CommonName: clientName},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, now)
	if err != nil {
		return err
	}
	return errors.Join(
		ca.write(dir, CACert, CAKey), server.write(dir, ServerCert, ServerKey), client.write(dir, ClientCert, ClientKey))
}

// usable reports whether dir holds a set that belongs together.
func usable(dir, clientName string, now time.Time) bool {
	caPEM, err := os.ReadFile(filepath.Join(dir, CACert))
	if err != nil {
		return false
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(caPEM) {
		return false
	}
	for _, f := range []struct {
		cert, key, name string
		usage           x509.ExtKeyUsage
	}{{ServerCert, ServerKey, "localhost", x509.ExtKeyUsageServerAuth}, {ClientCert, ClientKey, clientName, x509.ExtKeyUsageClientAuth}} {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, f.cert), filepath.Join(dir, f.key))
		if err != nil || pair.Leaf.Subject.CommonName != f.name {
			return false
		}
		options := x509.VerifyOptions{Roots: pool, CurrentTime: now.Add(renewBefore), KeyUsages: []x509.ExtKeyUsage{f.usage}}
		if _, err := pair.Leaf.Verify(options); err != nil {
			return false
		}
	}
	return true
}

type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newPair signs template by issuer; nil means by itself.
func newPair(template *x509.Certificate, issuer *pair, now time.Time) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a development key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a development certificate: %w", err)
	}
	template.SerialNumber = serial
	// An hour early: clocks of containers and their hosts differ.
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(life)
	if issuer == nil {
		issuer = &pair{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.cert, &key.PublicKey, issuer.key)
	if err != nil {
		return nil, fmt.Errorf("making a development certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back a development certificate: %w", err)
	}
	return &pair{cert, key}, nil
}

// write leaves both files in dir, the key readable by its owner only.
func (p *pair) write(dir, certFile, keyFile string) error {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return fmt.Errorf("encoding a development key: %w", err)
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
		mode       os.FileMode
	}{{keyFile, "PRIVATE KEY", der, 0o600}, {certFile, "CERTIFICATE", p.cert.Raw, 0o644}} {
		path := filepath.Join(dir, f.name)
		// Remove first: the mode of a file that is there would stay.
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("replacing a development certificate: %w", err)
		}
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), f.mode); err != nil {
			return fmt.Errorf("writing a development certificate: %w", err)
		}
	}
	return nil
}
