package chaos

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Between a consent and the next revocation, and between that and a new consent,
// each at least and at most.
const (
	leastActive, mostActive   = 3 * time.Second, 7 * time.Second
	leastRevoked, mostRevoked = StaleFor, StaleFor + 2*time.Second
	// tryAgain after a step that failed.
	tryAgain = 300 * time.Millisecond
)

// revokeAgainAndAgain revokes a grant and lets a person consent anew, through any
// replica. It ends with a consent.
func (l *Load) revokeAgainAndAgain(ctx context.Context, grant int, random *rand.Rand) {
	for pause(ctx, between(random, leastActive, mostActive)) {
		l.round(grant, 1)
		l.until(random, grant, l.revoke)
		pause(ctx, between(random, leastRevoked, mostRevoked))
		l.until(random, grant, l.consent)
	}
}

func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)))
}

// operatorPatience bounds the attempts at one step: longer than any disaster.
const operatorPatience = 2 * time.Minute

// until does a step through any replica until it is done.
func (l *Load) until(random *rand.Rand, grant int, step func(r *Replica, grant int) Op) {
	ctx, cancel := context.WithTimeout(context.Background(), operatorPatience)
	defer cancel()
	// Longer and longer rests, as an operator does: of a step that fails nobody knows
	// whether it was done.
	for rest := tryAgain; step(l.any(random), grant).Code != "" && pause(ctx, rest); {
		rest = min(2*rest, mostRest)
	}
}

func (l *Load) revoke(r *Replica, grant int) Op {
	return l.do(Revoke, r, grant, func(ctx context.Context, _ *Op) error {
		_, err := r.Admin.RevokeGrant(ctx, &holdfastv1.RevokeGrantRequest{Grant: l.Grants[grant].selector(), Reason: "chaos"})
		return err
	})
}

// consent takes a person through a consent: an operator asks for it, and the link
// is opened at that same replica.
func (l *Load) consent(r *Replica, grant int) Op {
	return l.do(Consent, r, grant, func(ctx context.Context, _ *Op) error {
		g := l.Grants[grant]
		link, err := r.Admin.StartReauth(ctx, &holdfastv1.StartReauthRequest{Grant: g.selector()})
		if err != nil {
			return err
		}
		l.c.public.Retarget(r.Where.HTTP)
		if err := browse(ctx, r.Person(l.c.t), link.GetUrl(), g.Account); err != nil {
			return err
		}
		answer, err := r.Consents.GetConsent(ctx, &holdfastv1.GetConsentRequest{ConsentId: link.GetConsentId()})
		if err != nil {
			return err
		}
		if c := answer.GetConsent(); c.GetStatus() != holdfastv1.ConsentStatus_CONSENT_STATUS_DONE {
			return fmt.Errorf("the consent ended as %v: %s", c.GetStatus(), c.GetDetail())
		}
		return nil
	})
}

// formAction finds the first form of a page.
var formAction = regexp.MustCompile(`<form[^>]*\saction="([^"]*)"`)

// browse opens a link and sends forms until a page has none.
func browse(ctx context.Context, person *http.Client, link, account string) error {
	person.Timeout = rig.Patience
	person.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if q := req.URL.Query(); req.URL.Path == "/authorize" { // who accepts at the simulator
			q.Set("sim_account", account)
			req.URL.RawQuery = q.Encode()
		}
		return nil
	}
	defer person.CloseIdleConnections()
	method, address := http.MethodGet, link
	const most = 6 // connect, allow, and some in reserve
	for range most {
		form, err := visit(ctx, person, method, address)
		if err != nil || form == "" {
			return err
		}
		method, address = http.MethodPost, form
	}
	return errors.New("the consent still shows another form")
}

// visit returns where the page's first form leads; empty: it has none.
func visit(ctx context.Context, person *http.Client, method, address string) (form string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return "", err
	}
	resp, err := person.Do(req)
	if err != nil {
		if failure, ok := errors.AsType[*url.Error](err); ok {
			err = failure.Err // without the URL, which holds the link
		}
		return "", fmt.Errorf("visiting a page: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("reading a page: %w", err)
	}
	found := formAction.FindSubmatch(page)
	if found == nil {
		return "", nil
	}
	action, err := resp.Request.URL.Parse(html.UnescapeString(string(found[1])))
	if err != nil {
		return "", err
	}
	return action.String(), nil
}
