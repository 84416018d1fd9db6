package devmode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/secret"
)

// seeded is what a start found or made.
type seeded struct {
	// Grants are the seeds, jira first.
	Grants []seedGrant
	// CloudID of the first site of acme/automation/jira.
	CloudID string
	// Link is where a person can try the connect page; empty: nowhere.
	Link      string
	LinkUntil time.Time
}

// seedGrant is one seed and how it stands.
type seedGrant struct {
	Address, Phase string
	// Good says that it serves tokens; Gone that only a new consent helps.
	Good, Gone bool
}

func newSeedGrant(address string, phase holdfastv1.GrantPhase) seedGrant {
	g := seedGrant{Address: address, Phase: render.Enum(phase, "GRANT_PHASE_")}
	switch phase {
	case holdfastv1.GrantPhase_GRANT_PHASE_ACTIVE:
		g.Good = true
	case holdfastv1.GrantPhase_GRANT_PHASE_SUSPECTED: // settles by itself
	default:
		g.Gone = true
	}
	return g
}

func trimmed(b []byte) secret.String { return secret.New(string(bytes.TrimSpace(b))) }

// seed consents to one grant a product, unless there is one, and makes a link
// for a person to try.
func seed(ctx context.Context, o Options) (seeded, error) {
	var found seeded
	s, err := settings(o.Dir)
	if err != nil {
		return found, err
	}
	conn, err := s.Dial()
	if err != nil {
		return found, err
	}
	defer func() { _ = conn.Close() }() // nothing is buffered in it
	for _, app := range devApps {
		a := &holdfastv1.GrantAddress{Tenant: "acme", Subject: "automation", Product: app.Product}
		grant, err := ensureGrant(ctx, conn, a)
		if err != nil {
			return found, fmt.Errorf("consenting to acme/automation/%s: %w", app.Product, err)
		}
		found.Grants = append(found.Grants, newSeedGrant("acme/automation/"+app.Product, grant.GetPhase()))
		if sites := grant.GetSites(); app.Product == "jira" && len(sites) > 0 {
			found.CloudID = sites[0].GetCloudId()
		}
	}
	link, err := holdfastv1.NewConsentServiceClient(conn).StartConsent(ctx, &holdfastv1.StartConsentRequest{
		Address: &holdfastv1.GrantAddress{Tenant: "acme", Subject: "demo", Product: "jira"},
	})
	if status.Code(err) == codes.FailedPrecondition {
		return found, nil // somebody revoked the demo grant: no link then
	}
	if err != nil {
		return found, fmt.Errorf("making a link to try: %w", err)
	}
	found.Link, found.LinkUntil = link.GetUrl(), link.GetExpiresAt().AsTime()
	return found, nil
}

// ensureGrant consents to a grant that does not exist or has lapsed. What a
// person revoked stays revoked.
func ensureGrant(ctx context.Context, conn grpc.ClientConnInterface, a *holdfastv1.GrantAddress) (*holdfastv1.Grant, error) {
	admin := holdfastv1.NewAdminServiceClient(conn)
	get := &holdfastv1.GetGrantRequest{Grant: &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{Address: a}}}
	// The server has just begun to accept: wait for it instead of failing.
	there, err := admin.GetGrant(ctx, get, grpc.WaitForReady(true))
	switch {
	case status.Code(err) == codes.NotFound:
	case err != nil:
		return nil, err
	case there.GetGrant().GetPhase() != holdfastv1.GrantPhase_GRANT_PHASE_LAPSED:
		return there.GetGrant(), nil
	}
	consents := holdfastv1.NewConsentServiceClient(conn)
	link, err := consents.StartConsent(ctx, &holdfastv1.StartConsentRequest{Address: a})
	if err != nil {
		return nil, err
	}
	if err := consent(ctx, link.GetUrl()); err != nil {
		return nil, err
	}
	answer, err := consents.GetConsent(ctx, &holdfastv1.GetConsentRequest{ConsentId: link.GetConsentId()})
	if err != nil {
		return nil, err
	}
	if c := answer.GetConsent(); c.GetStatus() != holdfastv1.ConsentStatus_CONSENT_STATUS_DONE {
		return nil, fmt.Errorf("it ended as %s: %s", c.GetStatus(), c.GetDetail())
	}
	if there, err = admin.GetGrant(ctx, get); err != nil {
		return nil, err
	}
	return there.GetGrant(), nil
}

// consent goes the way of a person's browser: connect page, "continue", the
// provider, which is asked to accept without a page, callback, result.
func consent(ctx context.Context, link string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		request, err := http.NewRequestWithContext(ctx, method, link, nil)
		if err != nil {
			return err
		}
		request.Header.Set("X-Sim-Consent", "accept")
		answer, err := browser.Do(request)
		if err != nil {
			// The error of a browser holds the URL, and that the link or a code.
			return errors.New("the connect page cannot be reached")
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
