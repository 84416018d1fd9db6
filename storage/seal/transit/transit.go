// Package transit is a KEK of the transit secrets engine of HashiCorp Vault or
// OpenBao, over its HTTP API. It sends the 32 bytes of a root key and nothing else.
//
// What is stored of a wrapped key is the engine's ciphertext, "vault:v1:...",
// whose version says by which version of the key it opens. The engine may rotate
// its key by itself: older versions open until min_decryption_version is raised.
package transit

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// Config of a KEK.
type Config struct {
	// Address of the server, https, or http on loopback. Required.
	Address string
	// Mount of the engine; empty: "transit".
	Mount string
	// Key is the name of the key. Required.
	Key string
	// TokenFile holds the token; it is read again for each call, so that an agent may renew it. Required.
	TokenFile string
	// Namespace of the mount; empty: none.
	Namespace string
	// CAFile holds the certificates in PEM form that the server's is signed by; empty: the system's.
	CAFile string
}

// timeout bounds one call if its context does not.
const timeout = 10 * time.Second

// KEK asks the engine. It keeps no connection, so that it needs no closing and
// reads its files anew each time.
type KEK struct {
	c    Config
	base *url.URL
}

// New returns the KEK that c names. Nothing is connected and no file is read yet.
func New(c Config) (*KEK, error) {
	if c.Mount == "" {
		c.Mount = "transit"
	}
	base, err := url.Parse(c.Address)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("vault address %q: want an https URL such as https://vault.example.com:8200", c.Address)
	}
	if c.Key == "" || c.TokenFile == "" {
		return nil, fmt.Errorf("vault: key and token_file are required")
	}
	return &KEK{c: c, base: base}, nil
}

// ID is made of the mount and the name of the key.
func (k *KEK) ID() string { return "vault-transit/" + strings.Trim(k.c.Mount, "/") + "/" + k.c.Key }

// ciphertext is what the engine returns; OpenBao's has the same prefix.
var ciphertext = regexp.MustCompile(`^vault:v[1-9][0-9]{0,9}:[A-Za-z0-9+/=]+$`)

// Wrap has the engine encrypt key.
func (k *KEK) Wrap(ctx context.Context, key []byte) ([]byte, error) {
	answer, err := k.call(ctx, "encrypt", map[string]string{"plaintext": base64.StdEncoding.EncodeToString(key)})
	if err != nil {
		return nil, err
	}
	if !ciphertext.MatchString(answer.Ciphertext) {
		return nil, k.foreign()
	}
	return []byte(answer.Ciphertext), nil
}

// Unwrap has the engine decrypt what Wrap returned.
func (k *KEK) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	if !ciphertext.Match(wrapped) {
		return nil, seal.ErrOpen
	}
	answer, err := k.call(ctx, "decrypt", map[string]string{"ciphertext": string(wrapped)})
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(answer.Plaintext)
	if err != nil || len(key) == 0 {
		return nil, k.foreign()
	}
	return key, nil
}

func (k *KEK) foreign() error {
	return fmt.Errorf("what answers at %s is no transit engine: correct the address or the mount", k.base.Redacted())
}

// data is the part of an answer that is of use.
type data struct {
	Ciphertext string `json:"ciphertext"`
	Plaintext  string `json:"plaintext"`
}

// call posts body to one of the engine's two operations.
func (k *KEK) call(ctx context.Context, operation string, body map[string]string) (data, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := k.request(ctx, operation, body)
	if err != nil {
		return data{}, err
	}
	client, err := k.client()
	if err != nil {
		return data{}, err
	}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return data{}, k.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return data{}, k.refused(operation, resp.StatusCode, body["ciphertext"])
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, seal.MaxKEKAnswer))
	if err != nil {
		return data{}, k.unreachable(err)
	}
	var answer struct {
		Data data `json:"data"`
	}
	if json.Unmarshal(b, &answer) != nil {
		return data{}, k.foreign()
	}
	return answer.Data, nil
}

func (k *KEK) request(ctx context.Context, operation string, body map[string]string) (*http.Request, error) {
	token, err := k.token()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	// JoinPath would resolve what looks like "..": a name is one segment.
	target := k.base.JoinPath("v1", k.c.Mount, operation, url.PathEscape(k.c.Key))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("asking Vault: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Vault-Token", token.Reveal())
	req.Header.Set("X-Vault-Request", "true") // an agent in between may demand it
	if k.c.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", k.c.Namespace)
	}
	return req, nil
}

func (k *KEK) token() (secret.String, error) {
	f, err := os.Open(k.c.TokenFile)
	if err != nil {
		return secret.String{}, fmt.Errorf("%w: reading Vault's token: %w", seal.ErrUnavailable, err)
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, 16<<10))
	text := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return secret.String{}, fmt.Errorf("%w: reading Vault's token: %w", seal.ErrUnavailable, err)
	case text == "" || strings.ContainsAny(text, " \t\r\n"):
		return secret.String{}, fmt.Errorf("%w: %s holds no token: write the token, and nothing else, into it", seal.ErrUnavailable, k.c.TokenFile)
	}
	return secret.New(text), nil
}

// client follows no redirect and asks no environment: the token goes to the
// configured server alone.
func (k *KEK) client() (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if k.c.CAFile != "" {
		pem, err := os.ReadFile(k.c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%w: reading the CA of Vault: %w", seal.ErrUnavailable, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: %s holds no certificate in PEM form", seal.ErrUnavailable, k.c.CAFile)
		}
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: config, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
