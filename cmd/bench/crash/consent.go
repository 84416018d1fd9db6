package crash

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/cmd/holdfast/devca"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// consentPatience bounds one walk through the pages.
const consentPatience = 20 * time.Second

// consent lets a person consent to a grant: link, connect page, "continue", the
// provider, callback, result. An error says nothing about what became of it.
func (l *leg) consent(ctx context.Context, g *grant) error {
	ctx, cancel := context.WithTimeout(ctx, consentPatience)
	defer cancel()
	link, err := l.consents.StartConsent(ctx, &holdfastv1.StartConsentRequest{Address: g.address}, waitForBroker)
	if err != nil {
		return fmt.Errorf("starting a consent: %w", err)
	}
	if err := l.browse(ctx, link.GetUrl(), g.account); err != nil {
		return err
	}
	answer, err := l.consents.GetConsent(ctx, &holdfastv1.GetConsentRequest{ConsentId: link.GetConsentId()})
	if err != nil {
		return fmt.Errorf("asking for a consent: %w", err)
	}
	if c := answer.GetConsent(); c.GetStatus() != holdfastv1.ConsentStatus_CONSENT_STATUS_DONE {
		return fmt.Errorf("the consent ended as %s: %s", c.GetStatus(), c.GetDetail())
	}
	return nil
}

func (l *leg) browse(ctx context.Context, link, account string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: l.roots}
	browser := &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Path == "/authorize" { // the person's choice at the provider
			q := r.URL.Query()
			q.Set("sim_consent", "accept")
			q.Set("sim_account", account)
			r.URL.RawQuery = q.Encode()
		}
		if len(via) > 10 {
			return errors.New("too many redirects")
		}
		return nil
	}}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		request, err := http.NewRequestWithContext(ctx, method, link, nil)
		if err != nil {
			return err
		}
		answer, err := browser.Do(request)
		if err != nil {
			// The error of a browser holds the URL, and that the link or a code.
			if failure := new(url.Error); errors.As(err, &failure) {
				err = failure.Err
			}
			return fmt.Errorf("visiting the connect page: %w", err)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			return fmt.Errorf("reading the connect page: %w", err)
		}
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("the connect page, or where it led, answered %s to a %s", answer.Status, method)
		}
	}
	return nil
}

// roots trust the broker's own CA.
func roots(p *place) (*tls.Config, error) {
	pem, err := os.ReadFile(p.path(devca.CACert))
	if err != nil {
		return nil, fmt.Errorf("reading the CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the CA file holds no certificate")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// newGrants are n grants, over both products and both accounts by turns.
func newGrants(n int) []*grant {
	accounts := atlassiansim.DefaultAccounts()
	grants := make([]*grant, n)
	for i := range grants {
		grants[i] = &grant{
			address: &holdfastv1.GrantAddress{Tenant: "acme", Subject: fmt.Sprint("service-", i), Product: []string{"jira", "confluence"}[i%2]},
			account: accounts[i/2%len(accounts)].ID,
		}
	}
	return grants
}
