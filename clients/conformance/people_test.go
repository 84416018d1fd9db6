package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// selector of a grant's address.
func selector(grant string) *holdfastv1.GrantSelector {
	parts := append(strings.Split(grant, "/"), "", "", "")
	return &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{
		Address: &holdfastv1.GrantAddress{Tenant: parts[0], Subject: parts[1], Product: parts[2], Name: parts[3]},
	}}
}

// operate does what an operator does, past the relay.
func (d *dev) operate(ctx context.Context, what, grant string) (*holdfastv1.Grant, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(d.dir, "client.crt"), filepath.Join(d.dir, "client.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(d.dir, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	creds := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS13})
	conn, err := grpc.NewClient(d.grpc, grpc.WithTransportCredentials(creds))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	admin := holdfastv1.NewAdminServiceClient(conn)
	patient := grpc.WaitForReady(true)
	switch what {
	case "refresh":
		answer, err := admin.ForceRefresh(ctx, &holdfastv1.ForceRefreshRequest{Grant: selector(grant)}, patient)
		return answer.GetGrant(), err
	case "revoke":
		answer, err := admin.RevokeGrant(ctx, &holdfastv1.RevokeGrantRequest{Grant: selector(grant)}, patient)
		return answer.GetGrant(), err
	}
	return nil, fmt.Errorf("operator: %q: want refresh or revoke", what)
}

// consent goes the way of a person's browser along a link: connect page,
// "continue", the provider, which accepts without a page, and back.
func consent(ctx context.Context, link string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}, Timeout: startBound}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		request, err := http.NewRequestWithContext(ctx, method, link, nil)
		if err != nil {
			return errors.New("the link is no URL")
		}
		request.Header.Set("X-Sim-Consent", "accept")
		answer, err := browser.Do(request)
		if err != nil {
			return fmt.Errorf("the link leads nowhere: %w", err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("the connect page, or where it led, answered %s to a %s", answer.Status, method)
		}
	}
	return nil
}
