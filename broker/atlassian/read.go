package atlassian

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/holdfast-io/holdfast/secret"
)

// maxRead of an answer about sites or the account, in bytes: some thousand
// sites with a hundred scopes each.
const maxRead = 16 << 20

// Resource is one site that a token reaches.
type Resource struct {
	// ID is the cloud id.
	ID, Name, URL string
	// Scopes that the token has on it, sorted.
	Scopes []string
}

// Resources asks which sites access reaches. A site that the provider lists
// once per product comes once, with the scopes of all its entries. The order
// is that of the ids. nil for a profile without sites.
func (p *Provider) Resources(ctx context.Context, access secret.String) ([]Resource, error) {
	if p.profile.ResourcesURL == "" {
		return nil, nil
	}
	var listed []Resource
	if err := p.read(ctx, p.profile.ResourcesURL, access, &listed); err != nil {
		return nil, fmt.Errorf("asking the provider for the token's sites: %w", err)
	}
	return mergeResources(listed), nil
}

func mergeResources(listed []Resource) []Resource {
	slices.SortFunc(listed, func(a, b Resource) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.URL, b.URL), cmp.Compare(a.Name, b.Name))
	})
	out := []Resource{}
	for _, r := range listed {
		switch last := len(out) - 1; {
		case r.ID == "": // cannot be addressed
		case last >= 0 && out[last].ID == r.ID:
			out[last].Scopes = append(out[last].Scopes, r.Scopes...)
		default:
			out = append(out, r)
		}
	}
	for i := range out {
		slices.Sort(out[i].Scopes)
		out[i].Scopes = slices.Compact(out[i].Scopes)
	}
	return out
}

// Account is who a token acts for.
type Account struct {
	// ID is stable for ever and never empty.
	ID string
	// Name is for people; may be empty.
	Name string
}

// Account asks whose token access is.
func (p *Provider) Account(ctx context.Context, access secret.String) (Account, error) {
	var fields map[string]json.RawMessage
	if err := p.read(ctx, p.profile.AccountURL, access, &fields); err != nil {
		return Account{}, fmt.Errorf("asking the provider for the token's account: %w", err)
	}
	id, ok := text(fields[p.profile.AccountIDField])
	if !ok || id == "" {
		return Account{}, fmt.Errorf("asking the provider for the token's account: no field %q in the answer; check account_id_field and account_scope", p.profile.AccountIDField)
	}
	name, _ := text(fields[p.profile.AccountNameField])
	return Account{ID: id, Name: name}, nil
}

// Verdict says whether the provider still takes an access token.
type Verdict int

// The verdicts on an access token.
const (
	// Unclear: no answer that says anything about the token.
	Unclear Verdict = iota
	// Accepted: the provider used it to answer.
	Accepted
	// Rejected: a 401.
	Rejected
)

// Probe asks the provider with access, and believes only a 401 to be a
// rejection: the API gateway's 403 and 404 have other causes as well.
func (p *Provider) Probe(ctx context.Context, access secret.String) Verdict {
	target := cmp.Or(p.profile.ResourcesURL, p.profile.AccountURL)
	var answer any
	err := p.read(ctx, target, access, &answer)
	var status statusError
	switch {
	case err == nil:
		return Accepted
	case errors.As(err, &status) && status == http.StatusUnauthorized:
		return Rejected
	}
	return Unclear
}

// statusError is an HTTP status other than 200.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("HTTP %d", int(s)) }

// read decodes the JSON that target answers to the bearer of access.
func (p *Provider) read(ctx context.Context, target string, access secret.String, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return errors.New("the profile's URL is no URL")
	}
	req.Header.Set("Authorization", "Bearer "+access.Reveal())
	status, body, err := p.do(req)
	switch {
	case err != nil:
		return err
	case status != http.StatusOK:
		return statusError(status)
	case json.Unmarshal(body, into) != nil:
		// The decoder's own words would quote the body.
		return errors.New("HTTP 200, but the body is not the JSON that was expected")
	}
	return nil
}

// do sends a request that may be repeated, and describes every failure in
// words of its own.
func (p *Provider) do(req *http.Request) (status int, body []byte, err error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "holdfast")
	sent := p.now()
	resp, err := p.reads.Do(req)
	if err != nil {
		return 0, nil, errors.New(describe(err))
	}
	defer resp.Body.Close()
	p.noteDate(sent, resp.Header)
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxRead+1))
	switch {
	case err != nil:
		return 0, nil, errors.New(describe(err))
	case len(body) > maxRead:
		return 0, nil, fmt.Errorf("the answer is larger than %d MiB", maxRead>>20)
	}
	return resp.StatusCode, body, nil
}

// describe says what failed. Before the request leaves, the cause's own text
// is safe and helps (a host name, an unknown authority); after that it may
// quote the provider.
func describe(err error) string {
	var stage *stageError
	if errors.As(err, &stage) {
		return "no connection: " + stage.Error()
	}
	return "no answer: " + failureWord(err)
}
