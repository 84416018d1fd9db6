package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The elements of the broker's result page that say how a consent ended.
const (
	granted = chromedp.CSS("article.tone-good")
	ended   = chromedp.CSS("article.tone-none")
)

// The whole way of a grant: a person consents in a browser, a service draws a
// token, the token rotates, an operator revokes.
func TestConsentRefreshRotateRevoke(t *testing.T) {
	p, b := start(t)
	br := startBrowser(t)
	b.consent(t, br, jira, "ada")

	first := b.token(t, jira)
	if status, who := p.subject(t, first.GetAccessToken()); status != http.StatusOK || who != "ada" {
		t.Errorf("userinfo answered %d, %q to the broker's token; want 200, \"ada\"", status, who)
	}
	if again := b.token(t, jira); again.GetAccessToken() != first.GetAccessToken() {
		t.Error("a second call got another token, though the first one is fresh")
	}
	if n := len(p.exchanges(t, jira.ID)); n != 1 {
		t.Fatalf("after the consent and two calls the provider counts %d token requests, want the code's exchange alone", n)
	}

	b.forceRefresh(t, jira)
	b.forceRefresh(t, jira)
	last := b.token(t, jira)
	if got, want := last.GetGeneration(), first.GetGeneration()+2; got != want {
		t.Errorf("generation after two forced refreshes is %d, want %d", got, want)
	}
	if status, who := p.subject(t, last.GetAccessToken()); status != http.StatusOK || who != "ada" {
		t.Errorf("userinfo answered %d, %q to the rotated token; want 200, \"ada\"", status, who)
	}
	checkRotations(t, p.exchanges(t, jira.ID), 2)
	newest := newestRefreshToken(t, p, jira)

	revoked, err := b.Admin.RevokeGrant(t.Context(), &holdfastv1.RevokeGrantRequest{Grant: jira.Grant(subject), Reason: "end of the test"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := revoked.GetProviderRevocation(), holdfastv1.ProviderRevocation_PROVIDER_REVOCATION_DONE; got != want {
		t.Errorf("the revocation at the provider ended as %v, want %v", got, want)
	}
	if _, err := b.Tokens.GetAccessToken(t.Context(), &holdfastv1.GetAccessTokenRequest{Grant: jira.Grant(subject)}); rig.Reason(err) != "GRANT_REVOKED" {
		t.Errorf("GetAccessToken of a revoked grant: %v; want reason GRANT_REVOKED", err)
	}
	if status, _ := p.subject(t, last.GetAccessToken()); status != http.StatusUnauthorized {
		t.Errorf("userinfo answered %d to the revoked grant's token, want 401", status)
	}
	if answer := p.refresh(t, clientOf(jira), newest); answer.Error != "invalid_grant" {
		t.Errorf("the revoked grant's refresh token answered error %q, want invalid_grant: the provider's grant must be gone", answer.Error)
	}
}

// A thief, or an old backup, spends a token that the broker has rotated away:
// the provider refuses it and ends the grant. The broker believes no single
// refusal, and the other product's family does not notice.
func TestSpentRefreshTokenIsUselessAndTheOtherFamilyLives(t *testing.T) {
	p, b := start(t)
	br := startBrowser(t)
	b.consent(t, br, jira, "ada")
	b.consent(t, br, confluence, "ada")
	before := b.forceRefresh(t, confluence)

	spent := p.exchanges(t, confluence.ID)[0].Issued
	if answer := p.refresh(t, clientOf(confluence), spent); answer.Error != "invalid_grant" {
		t.Fatalf("the spent refresh token answered error %q, want invalid_grant", answer.Error)
	}
	if n := p.grantsRevoked(t); n != 1 {
		t.Fatalf("the reuse ended %d grants at the provider, want 1", n)
	}

	_, err := b.Admin.ForceRefresh(t.Context(), &holdfastv1.ForceRefreshRequest{Grant: confluence.Grant(subject)})
	if err == nil {
		t.Fatal("ForceRefresh succeeded although the provider has ended the grant")
	}
	got, err := b.Admin.GetGrant(t.Context(), &holdfastv1.GetGrantRequest{Grant: confluence.Grant(subject)})
	if err != nil {
		t.Fatal(err)
	}
	if phase := got.GetGrant().GetPhase(); phase != holdfastv1.GrantPhase_GRANT_PHASE_SUSPECTED {
		t.Errorf("after one refusal the grant is %v, want suspected: nothing may be given up for a single answer", phase)
	}
	if got.GetGrant().GetGeneration() != before.GetGeneration() {
		t.Errorf("the refusal moved the generation from %d to %d", before.GetGeneration(), got.GetGrant().GetGeneration())
	}

	b.forceRefresh(t, jira)
	if status, who := p.subject(t, b.token(t, jira).GetAccessToken()); status != http.StatusOK || who != "ada" {
		t.Errorf("userinfo answered %d, %q to the other family's token; want 200, \"ada\"", status, who)
	}
}

func TestDeniedConsentLeavesNoGrant(t *testing.T) {
	p, b := start(t)
	br := startBrowser(t)
	link := b.startConsent(t, jira)
	b.connect(t, br, link)
	br.deny(t, "ada", ended)
	br.shoot(t, "denied")

	got, err := b.Consents.GetConsent(t.Context(), &holdfastv1.GetConsentRequest{ConsentId: link.GetConsentId()})
	if err != nil {
		t.Fatal(err)
	}
	if status := got.GetConsent().GetStatus(); status != holdfastv1.ConsentStatus_CONSENT_STATUS_DENIED {
		t.Errorf("the consent's status is %v, want denied", status)
	}
	if _, err := b.Admin.GetGrant(t.Context(), &holdfastv1.GetGrantRequest{Grant: jira.Grant(subject)}); rig.Reason(err) != "GRANT_NOT_FOUND" {
		t.Errorf("GetGrant after a denied consent: %v; want reason GRANT_NOT_FOUND", err)
	}
	if n := len(p.exchanges(t, jira.ID)); n != 0 {
		t.Errorf("the provider counts %d token requests, want none", n)
	}
}

// consent takes a person through the whole consent of one product.
func (b *broker) consent(t *testing.T, br *browser, a rig.App, account string) {
	t.Helper()
	link := b.startConsent(t, a)
	b.connect(t, br, link)
	br.allow(t, account, granted)
	br.shoot(t, "granted-"+a.Product)
	got, err := b.Consents.GetConsent(t.Context(), &holdfastv1.GetConsentRequest{ConsentId: link.GetConsentId()})
	if err != nil {
		t.Fatal(err)
	}
	if status := got.GetConsent().GetStatus(); status != holdfastv1.ConsentStatus_CONSENT_STATUS_DONE {
		t.Fatalf("the consent's status is %v (%s), want done", status, got.GetConsent().GetDetail())
	}
}

func (b *broker) startConsent(t *testing.T, a rig.App) *holdfastv1.StartConsentResponse {
	t.Helper()
	link, err := b.Consents.StartConsent(t.Context(), &holdfastv1.StartConsentRequest{Address: a.Address(subject)})
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// connect opens the connect page, reads it as a person would, and continues.
func (b *broker) connect(t *testing.T, br *browser, link *holdfastv1.StartConsentResponse) {
	t.Helper()
	button := chromedp.CSS("form button")
	br.do(t, "opening the connect page", chromedp.Navigate(link.GetUrl()), chromedp.WaitVisible(button))
	page := br.shoot(t, "connect")
	for _, said := range slices.Concat(link.GetScopes(), []string{"acme", "automation", "Counterpart"}) {
		if !strings.Contains(page, said) {
			t.Errorf("the connect page does not say %q:\n%s", said, page)
		}
	}
	br.do(t, "continuing to the provider", chromedp.Click(button), chromedp.WaitVisible(atProvider))
}

func (b *broker) token(t *testing.T, a rig.App) *holdfastv1.GetAccessTokenResponse {
	t.Helper()
	got, err := b.Tokens.GetAccessToken(t.Context(), &holdfastv1.GetAccessTokenRequest{
		Grant: a.Grant(subject), RequiredScopes: a.Scopes, Purpose: "end-to-end",
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (b *broker) forceRefresh(t *testing.T, a rig.App) *holdfastv1.Grant {
	t.Helper()
	got, err := b.Admin.ForceRefresh(t.Context(), &holdfastv1.ForceRefreshRequest{Grant: a.Grant(subject)})
	if err != nil {
		t.Fatal(err)
	}
	return got.GetGrant()
}

// checkRotations checks that after the code's exchange exactly want refreshes
// were made, each of which spent the token that the one before had brought.
func checkRotations(t *testing.T, ledger []line, want int) {
	t.Helper()
	if len(ledger) != want+1 {
		t.Fatalf("the provider counts %d token requests, want 1 of the code and %d of refreshes", len(ledger), want)
	}
	for i, l := range ledger {
		grantType := "refresh_token"
		if i == 0 {
			grantType = "authorization_code"
		}
		if l.GrantType != grantType || l.Status != http.StatusOK {
			t.Errorf("token request %d is %s with status %d, want %s with 200", i, l.GrantType, l.Status, grantType)
		}
		if i > 0 && (l.Sent != ledger[i-1].Issued || l.Issued == l.Sent) {
			t.Errorf("token request %d did not exchange the newest refresh token for another one", i)
		}
	}
}

// newestRefreshToken is what the broker holds now. No API of the broker's gives
// it away: it comes from the provider's ledger.
func newestRefreshToken(t *testing.T, p *provider, a rig.App) string {
	t.Helper()
	ledger := p.exchanges(t, a.ID)
	return ledger[len(ledger)-1].Issued
}
