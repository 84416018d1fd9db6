package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/secret"
)

// providerClock compares this machine's clock with the Date of the provider's
// answer, which also shows that the provider can be reached.
func providerClock(ctx context.Context, p *atlassian.Provider, margin time.Duration) Finding {
	const check = "clock"
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	seen, err := p.CheckClock(ctx)
	switch {
	case err != nil:
		return Finding{check, Bad, err.Error(),
			"let this machine reach the provider (egress rules, provider.proxy_url, provider.ca_file), then run this again"}
	case seen.Ahead.Abs() > margin+time.Second:
		return Finding{check, Bad, fmt.Sprintf("%v %s the provider's; the clock margin is %v", seen.Ahead.Abs().Round(time.Second), direction(seen.Ahead), margin),
			"set this machine's clock and keep it set (NTP): leeways and expiries are reckoned by it"}
	}
	return good(check, "agrees with the provider's")
}

func direction(ahead time.Duration) string {
	if ahead < 0 {
		return "behind"
	}
	return "ahead of"
}

// clientSecrets asks the provider about each client secret of the app.
func clientSecrets(ctx context.Context, p *atlassian.Provider, a *config.App) []Finding {
	var found []Finding
	for _, file := range a.ClientSecretFiles {
		check := "client secret of " + a.ID
		if len(a.ClientSecretFiles) > 1 {
			check += " (" + file + ")"
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			found = append(found, Finding{check, Bad, err.Error(), "give the file that holds the app's client secret"})
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, bound)
		err = p.CheckClient(ctx, atlassian.Credentials{ClientID: a.ClientID, Secret: secret.New(strings.TrimSpace(string(raw)))})
		cancel()
		switch {
		case errors.Is(err, atlassian.ErrUnclear):
			found = append(found, Finding{check, Bad, err.Error(),
				"the provider has said nothing about the client: let this machine reach its token endpoint, then run this again"})
			continue
		case err != nil:
			found = append(found, Finding{check, Bad, err.Error(),
				fmt.Sprintf("compare client_id and %s with the app's settings in the developer console", file)})
			continue
		}
		found = append(found, good(check, "the provider knows the client"))
	}
	return found
}

// consents asks what the provider has against a consent of each of the app's products.
func consents(ctx context.Context, p *atlassian.Provider, c *config.Config, a *config.App) []Finding {
	var found []Finding
	profile := p.Profile()
	callback := c.Public().JoinPath("oauth/callback").String()
	for _, product := range slices.Sorted(maps.Keys(a.Scopes)) {
		check := "callback URL of " + a.ID + ", " + product
		ctx, cancel := context.WithTimeout(ctx, bound)
		o, err := p.CheckAuthorize(ctx, atlassian.AuthorizeRequest{
			ClientID: a.ClientID, RedirectURI: callback, State: "doctor", Scopes: profile.ConsentScopes(a.Scopes[product]), Verifier: atlassian.NewVerifier(),
		})
		cancel()
		switch {
		case err != nil:
			found = append(found, Finding{check, Bad, err.Error(), "let this machine reach the provider's authorize endpoint"})
		case o.Word != "":
			found = append(found, Finding{check, Bad, "the provider objects: " + o.Word,
				fmt.Sprintf("in the developer console of client_id %s register exactly %s as the callback URL, and allow the scopes %s", a.ClientID, callback, strings.Join(a.Scopes[product], " "))})
		case o.Certain:
			found = append(found, good(check, callback+" is accepted"))
		default:
			found = append(found, good(check, "no objection to "+callback+" before the sign-in"))
		}
	}
	const offline = "offline access"
	if profile.OfflineScope == "" {
		return append(found, Finding{offline + " of " + a.ID, Look, "the profile names no scope that asks for a refresh token",
			"set provider.overrides.offline_scope, unless this provider gives refresh tokens without one"})
	}
	return append(found, good(offline+" of "+a.ID, "every consent asks for "+profile.OfflineScope+"; one that does not get it fails and says so"))
}

// publicURL asks whether browsers would find the connect page.
func publicURL(ctx context.Context, c *config.Config) Finding {
	const check = "connect page"
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	target := c.Public().JoinPath("healthz").String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return Finding{check, Bad, err.Error(), "correct public_url"}
	}
	// Whether the certificate is trusted by browsers can not be known from here;
	// that it answers can.
	client := &http.Client{Transport: &http.Transport{Proxy: nil, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	var wrong *url.Error
	if errors.As(err, &wrong) {
		err = wrong.Err // target is named once
	}
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return Finding{check, Look, "the certificate of " + target + " is not trusted here: " + untrusted.Err.Error(),
			"give http.cert_file and http.key_file a certificate that people's browsers trust, or have a proxy in front end TLS (http.behind_proxy)"}
	case err != nil:
		return Finding{check, Look, "no answer from " + target + ": " + err.Error(),
			"start the broker, and let browsers reach public_url; from this machine it may be out of reach all the same"}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Finding{check, Bad, fmt.Sprintf("%s answers HTTP %d", target, resp.StatusCode),
			"something else answers at public_url: correct it, or the proxy in front"}
	}
	return good(check, c.PublicURL+" answers")
}

// certificates looks at how long the certificates of the configuration are still good.
func certificates(c *config.Config, now time.Time) []Finding {
	const soon = 14 * 24 * time.Hour
	var found []Finding
	for _, file := range []string{c.TLS.CertFile, c.HTTP.CertFile} {
		if file == "" {
			continue
		}
		check := "certificate " + file
		cert, err := leaf(file)
		switch {
		case err != nil:
			found = append(found, Finding{check, Bad, err.Error(), "give a certificate in PEM form"})
		case now.After(cert.NotAfter):
			found = append(found, Finding{check, Bad, "expired " + cert.NotAfter.Format(time.DateOnly), "replace the file; it is read again by itself"})
		case cert.NotAfter.Sub(now) < soon:
			found = append(found, Finding{check, Look, "expires " + cert.NotAfter.Format(time.DateOnly), "replace the file soon; it is read again by itself"})
		default:
			found = append(found, good(check, "good until "+cert.NotAfter.Format(time.DateOnly)))
		}
	}
	return found
}

// leaf is the first certificate of a PEM file.
func leaf(file string) (*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return x509.ParseCertificate(block.Bytes)
}
