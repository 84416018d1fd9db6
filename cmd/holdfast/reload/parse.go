package reload

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/holdfast-io/holdfast/secret"
)

// Secrets reads one secret a file; blanks around it are cut off.
func Secrets(log *slog.Logger, files ...string) (*Value[[]secret.String], error) {
	return New(log, func(contents [][]byte) ([]secret.String, error) {
		var list []secret.String
		for i, c := range contents {
			text := strings.TrimSpace(string(c))
			if text == "" {
				return nil, fmt.Errorf("%s is empty; write the client secret into it", files[i])
			}
			list = append(list, secret.New(text))
		}
		return list, nil
	}, files...)
}

// KeyPair reads a certificate chain and its key, both PEM.
func KeyPair(log *slog.Logger, certFile, keyFile string) (*Value[*tls.Certificate], error) {
	return New(log, func(contents [][]byte) (*tls.Certificate, error) {
		pair, err := tls.X509KeyPair(contents[0], contents[1])
		if err != nil {
			return nil, fmt.Errorf("loading certificate %s with key %s: %w", certFile, keyFile, err)
		}
		return &pair, nil
	}, certFile, keyFile)
}

// Pool reads CA certificates, PEM.
func Pool(log *slog.Logger, file string) (*Value[*x509.CertPool], error) {
	return New(log, func(contents [][]byte) (*x509.CertPool, error) {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(contents[0]) {
			return nil, errors.New(file + " holds no certificate in PEM form")
		}
		return pool, nil
	}, file)
}
