package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// identity leaves a caller's certificate and key in dir, as caller.crt and
// caller.key, each replaced in one step as certificate managers do it.
//
//	dev       the development caller, who may do everything
//	stranger  somebody whom the broker's CA vouches for, and whom it gives nothing
//	forged    the development caller's name, vouched for by nobody
//
// It ends after lives, rounded down to a second as certificates are; 0: not while a scenario lasts.
func (d *dev) identity(dir, who string, lives time.Duration) error {
	switch {
	case lives != 0 && who != "" && who != "dev":
		return fmt.Errorf("as %q: only the certificate of dev can be a short one", who)
	case lives != 0:
		ca, err := d.issuer()
		if err != nil {
			return err
		}
		return issue(dir, "caller", "dev", ca, lives)
	}
	switch who {
	case "", "dev":
		for from, to := range map[string]string{"client.crt": "caller.crt", "client.key": "caller.key"} {
			text, err := os.ReadFile(filepath.Join(d.dir, from))
			if err != nil {
				return err
			}
			if err := replace(filepath.Join(dir, to), text); err != nil {
				return err
			}
		}
		return nil
	case "stranger":
		ca, err := d.issuer()
		if err != nil {
			return err
		}
		return issue(dir, "caller", "stranger", ca, time.Hour)
	case "forged":
		return issue(dir, "caller", "dev", nil, time.Hour)
	}
	return fmt.Errorf("as %q: want dev, stranger or forged", who)
}

// issuer is the CA whose certificates the broker believes.
func (d *dev) issuer() (*tls.Certificate, error) {
	ca, err := tls.LoadX509KeyPair(filepath.Join(d.dir, "ca.crt"), filepath.Join(d.dir, "ca.key"))
	return &ca, err
}

// authority leaves the CA that the client believes in dir, as ca.crt.
func (d *dev) authority(dir, which string) error {
	if which == "other" {
		return issue(dir, "ca", "another CA", nil, time.Hour)
	}
	text, err := os.ReadFile(filepath.Join(d.dir, "ca.crt"))
	if err != nil {
		return err
	}
	return replace(filepath.Join(dir, "ca.crt"), text)
}

// issue leaves NAME.crt and NAME.key of a new key in dir, signed by issuer or by itself.
func issue(dir, file, name string, issuer *tls.Certificate, lives time.Duration) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lives),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	parent, by := template, any(key)
	if issuer == nil {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage |= x509.KeyUsageCertSign
	} else {
		parent, by = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := replace(filepath.Join(dir, file+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})); err != nil {
		return err
	}
	return replace(filepath.Join(dir, file+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func replace(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
