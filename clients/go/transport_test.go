package holdfast

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// fakeAPI is the other side of a Transport: it records what it sees.
type fakeAPI struct {
	mu   sync.Mutex
	seen []string // method URL authorization body
	// answer by the token sent and the URL.
	answer func(token, url string) (status int, location string)
	open   int // bodies not closed
}

func (a *fakeAPI) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		body = string(b)
		_ = req.Body.Close()
	}
	auth := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, strings.TrimSpace(fmt.Sprintf("%s %s [%s] %s", req.Method, req.URL, auth, body)))
	status, location := http.StatusOK, ""
	if a.answer != nil {
		status, location = a.answer(auth, req.URL.String())
	}
	a.open++
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Request: req, Body: &countedBody{Reader: strings.NewReader("x"), api: a}}
	if location != "" {
		resp.Header.Set("Location", location)
	}
	return resp, nil
}

type countedBody struct {
	io.Reader
	api  *fakeAPI
	once sync.Once
}

func (b *countedBody) Close() error {
	b.once.Do(func() { b.api.mu.Lock(); b.api.open--; b.api.mu.Unlock() })
	return nil
}

const base = "https://api.example.com/ex/jira/cloud-1"

// thereAndBack redirects from the API to another origin, within that, back to the API,
// and within that, where it answers 401 in the end.
func thereAndBack(_, url string) (int, string) {
	switch url {
	case base + "/a":
		return http.StatusFound, "https://media.example.com/b"
	case "https://media.example.com/b":
		return http.StatusFound, "/c"
	case "https://media.example.com/c":
		return http.StatusFound, base + "/d"
	case base + "/d":
		return http.StatusFound, base + "/e"
	}
	return http.StatusUnauthorized, ""
}

// forgetful loses what led to a request.
type forgetful struct{ http.RoundTripper }

func (f forgetful) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := f.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Request = &http.Request{URL: req.URL}
	}
	return resp, err
}

// rejectFirst answers 401 to token-1.
func rejectFirst(token, _ string) (int, string) {
	if token == "token-1" {
		return http.StatusUnauthorized, ""
	}
	return http.StatusOK, ""
}

func TestTransport(t *testing.T) {
	type world struct {
		broker *fakeBroker
		api    *fakeAPI
		tr     *Transport
	}
	for _, c := range []struct {
		name    string
		setUp   func(w world)
		method  string // default GET
		url     string
		body    io.Reader
		status  int // 0: an error with wantErr
		wantErr string
		seen    []string
		gets    int
		reports int
	}{
		{name: "the token goes to the API", url: base + "/rest?q=1", status: 200,
			seen: []string{"GET " + base + "/rest?q=1 [token-1]"}, gets: 1},
		{name: "a relative URL is resolved under the API base", setUp: func(w world) { w.tr.Relative = true },
			url: "/rest/a%2Fb?q=1", status: 200, seen: []string{"GET " + base + "/rest/a%2Fb?q=1 [token-1]"}, gets: 1},
		{name: "a relative URL needs to be asked for", url: "/rest", wantErr: "Relative", gets: 1},
		{name: "a relative URL cannot leave the site's API", setUp: func(w world) { w.tr.Relative = true },
			url: "/x/%2e%2e/%2E%2e/other", wantErr: "leaves the site's API", gets: 1},
		{name: "another host is refused", url: "https://evil.example.com/rest", wantErr: "refusing to send the token to https://evil.example.com:443", gets: 1},
		{name: "the same host without TLS is refused", url: "http://api.example.com/rest", wantErr: "refusing", gets: 1},
		{name: "the same host on another port is refused", url: "https://api.example.com:8443/rest", wantErr: "refusing", gets: 1},
		{name: "a host that only begins alike is refused", url: "https://api.example.com.evil.com/rest", wantErr: "refusing", gets: 1},
		{name: "user information is no host", url: "https://api.example.com@evil.com/rest", wantErr: "refusing", gets: 1},
		{name: "the port may be spelled out", url: "https://API.example.com:443/rest", status: 200,
			seen: []string{"GET https://API.example.com:443/rest [token-1]"}, gets: 1},
		{name: "origins replace the default", setUp: func(w world) { w.tr.Origins = []string{"https://other.example.com"} },
			url: base, wantErr: "allowed are https://other.example.com", gets: 1},
		{name: "without a site nothing is allowed by default", setUp: func(w world) { w.broker.apiBase = "" },
			url: base, wantErr: "several", gets: 1},
		{name: "without a site an origin can be allowed", setUp: func(w world) {
			w.broker.apiBase = ""
			w.tr.Origins = []string{"https://api.example.com"}
		}, url: base, status: 200, seen: []string{"GET " + base + " [token-1]"}, gets: 1},
		{name: "a redirect to another host goes without the token",
			setUp: func(w world) {
				w.api.answer = func(_, url string) (int, string) {
					if strings.HasPrefix(url, base) {
						return http.StatusSeeOther, "https://media.example.com/file?sig=1"
					}
					return 200, ""
				}
			}, url: base + "/attachment", status: 200,
			seen: []string{"GET " + base + "/attachment [token-1]", "GET https://media.example.com/file?sig=1 []"}, gets: 1},
		{name: "a redirect to another origin that may see the token goes without it, and its 401 is the answer",
			setUp: func(w world) {
				w.tr.Origins = []string{"https://api.example.com", "https://other.example.com"}
				w.api.answer = func(_, url string) (int, string) {
					if strings.HasPrefix(url, base) {
						return http.StatusFound, "https://other.example.com/b"
					}
					return 401, ""
				}
			}, url: base, status: 401, seen: []string{"GET " + base + " [token-1]", "GET https://other.example.com/b []"}, gets: 1},
		{name: "a redirect there and back again stays without the token, also from a relative URL, and its 401 is the answer",
			setUp: func(w world) { w.tr.Relative = true; w.api.answer = thereAndBack },
			url:   "/a", status: 401, gets: 1,
			seen: []string{"GET " + base + "/a [token-1]", "GET https://media.example.com/b []", "GET https://media.example.com/c []",
				"GET " + base + "/d []", "GET " + base + "/e []"}},
		{name: "that does not depend on what the base says of its requests",
			setUp: func(w world) { w.api.answer = thereAndBack; w.tr.Base = forgetful{w.api} },
			url:   base + "/a", status: 401, gets: 1,
			seen: []string{"GET " + base + "/a [token-1]", "GET https://media.example.com/b []", "GET https://media.example.com/c []",
				"GET " + base + "/d []", "GET " + base + "/e []"}},
		{name: "a redirect within the API keeps the token, also from a relative URL",
			setUp: func(w world) {
				w.tr.Relative = true
				w.api.answer = func(_, url string) (int, string) {
					if strings.HasSuffix(url, "/old") {
						return http.StatusFound, "/ex/jira/cloud-1/new"
					}
					return 200, ""
				}
			}, url: "/old", status: 200, seen: []string{"GET " + base + "/old [token-1]", "GET " + base + "/new [token-1]"}, gets: 1},
		{name: "a 401 is reported and the request repeated", setUp: func(w world) { w.api.answer = rejectFirst },
			url: base, status: 200, seen: []string{"GET " + base + " [token-1]", "GET " + base + " [token-2]"}, gets: 2, reports: 1},
		{name: "a newer token that is for another site meanwhile stays away", setUp: func(w world) {
			w.api.answer = func(token, url string) (int, string) {
				w.broker.set(func() { w.broker.apiBase = "https://api.elsewhere.example.com/ex/jira/cloud-2" })
				return rejectFirst(token, url)
			}
		}, url: base, status: 401, seen: []string{"GET " + base + " [token-1]"}, gets: 2, reports: 1},
		{name: "a body that can be had again is sent again", setUp: func(w world) { w.api.answer = rejectFirst },
			method: "POST", url: base, body: strings.NewReader("hello"), status: 200,
			seen: []string{"POST " + base + " [token-1] hello", "POST " + base + " [token-2] hello"}, gets: 2, reports: 1},
		{name: "a stream is not repeated, yet the token is reported", setUp: func(w world) { w.api.answer = rejectFirst },
			method: "POST", url: base, body: io.MultiReader(strings.NewReader("hello")), status: 401,
			seen: []string{"POST " + base + " [token-1] hello"}, gets: 2, reports: 1},
		{name: "the second 401 is the answer", setUp: func(w world) {
			w.api.answer = func(string, string) (int, string) { return 401, "" }
		}, url: base, status: 401, seen: []string{"GET " + base + " [token-1]", "GET " + base + " [token-2]"}, gets: 2, reports: 1},
		{name: "a 401 of another cause is the answer", setUp: func(w world) {
			w.api.answer = rejectFirst
			w.broker.verdict = holdfastv1.TokenVerdict_TOKEN_VERDICT_TOKEN_ACCEPTED
		}, url: base, status: 401, seen: []string{"GET " + base + " [token-1]"}, gets: 1, reports: 1},
		{name: "without a verdict the token stays and the 401 is the answer", setUp: func(w world) {
			w.api.answer = rejectFirst
			w.broker.verdict = holdfastv1.TokenVerdict_TOKEN_VERDICT_UNVERIFIED
		}, url: base, status: 401, seen: []string{"GET " + base + " [token-1]"}, gets: 2, reports: 1},
		{name: "a broker that cannot be told leaves the 401", setUp: func(w world) {
			w.api.answer = rejectFirst
			w.broker.reportFail = errors.New("down")
		}, url: base, status: 401, seen: []string{"GET " + base + " [token-1]"}, gets: 1, reports: 1},
		{name: "a 403 is not a rejected token", setUp: func(w world) {
			w.api.answer = func(string, string) (int, string) { return 403, "" }
		}, url: base, status: 403, seen: []string{"GET " + base + " [token-1]"}, gets: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker, client *Client) {
				api := &fakeAPI{}
				w := world{b, api, &Transport{Source: client.TokenSource(t.Context(), grant), Base: api}}
				if c.setUp != nil {
					c.setUp(w)
				}
				req, err := http.NewRequestWithContext(t.Context(), c.method, c.url, c.body)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := (&http.Client{Transport: w.tr}).Do(req)
				if err == nil {
					_ = resp.Body.Close()
				}
				switch {
				case c.wantErr != "":
					if err == nil || !strings.Contains(err.Error(), c.wantErr) {
						t.Errorf("got error %v, want one with %q", err, c.wantErr)
					}
				case err != nil:
					t.Fatal(err)
				case resp.StatusCode != c.status:
					t.Errorf("got status %d, want %d", resp.StatusCode, c.status)
				}
				if diff := cmp.Diff(c.seen, api.seen); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
				if req.Header.Get("Authorization") != "" {
					t.Error("the caller's request was given the token")
				}
				if api.open != 0 {
					t.Errorf("%d bodies were left open", api.open)
				}
				wantCalls(t, b, c.gets, c.reports)
			})
		})
	}
}

func TestAGenerationIsReportedOnceHoweverManySeeItRejected(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		api := &fakeAPI{answer: rejectFirst}
		client := &http.Client{Transport: &Transport{Source: c.TokenSource(t.Context(), grant), Base: api}}
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				resp, err := client.Get(base)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("got status %d", resp.StatusCode)
				}
			})
		}
		group.Wait()
		wantCalls(t, b, 2, 1)
		if b.reports[0].GetGeneration() != 1 || b.reports[0].GetHttpStatus() != 401 || b.requests[1].GetIfNotGeneration() != 1 {
			t.Errorf("told %v, then asked %v", b.reports[0], b.requests[1])
		}
	})
}

func TestAnUnverifiedReportIsRepeatedAfterAMinuteAtTheEarliest(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		b.verdict = holdfastv1.TokenVerdict_TOKEN_VERDICT_UNVERIFIED
		client := &http.Client{Transport: &Transport{Source: c.TokenSource(t.Context(), grant), Base: &fakeAPI{answer: rejectFirst}}}
		for range 90 {
			resp, err := client.Get(base)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			pass(time.Second)
		}
		if _, reports := b.calls(); reports != 2 {
			t.Errorf("%d reports in 90 s, want 2", reports)
		}
	})
}

func TestARejectedTokenIsNotServedAgainWhileTheBrokerFails(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := c.TokenSource(t.Context(), grant)
		mustToken(t, s, "token-1")
		b.set(func() { b.fail = refusal(t, codes.Unavailable, ProviderUnavailable, time.Second, nil) })
		resp, err := (&http.Client{Transport: &Transport{Source: s, Base: &fakeAPI{answer: rejectFirst}}}).Get(base)
		if err != nil || resp.StatusCode != 401 {
			t.Fatalf("got %v, %v, want the 401", resp, err)
		}
		_ = resp.Body.Close()
		if _, err := s.Token(); err == nil {
			t.Error("the rejected token was handed out again")
		}
		b.set(func() { b.fail = nil })
		pass(time.Second)
		mustToken(t, s, "token-2")
		if last := b.requests[len(b.requests)-1]; last.GetIfNotGeneration() != 1 {
			t.Errorf("asked for any token, not for one newer than the rejected: %v", last)
		}
	})
}

func TestNothingIsReportedWhileTheBrokerWantsToBeLeftAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := c.TokenSource(t.Context(), grant)
		mustToken(t, s, "token-1")
		b.set(func() { b.fail = refusal(t, codes.ResourceExhausted, ProviderRateLimited, 30*time.Second, nil) })
		pass(10*time.Minute + time.Second) // the token is no longer guaranteed, and callers ask for another one
		client := &http.Client{Transport: &Transport{Source: s, Base: &fakeAPI{answer: rejectFirst}}}
		get := func(want int) {
			t.Helper()
			resp, err := client.Get(base)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("got status %d, want %d", resp.StatusCode, want)
			}
		}
		for range 3 {
			get(401)
			pass(9 * time.Second)
		}
		wantCalls(t, b, 2, 0)
		b.set(func() { b.fail = nil })
		pass(4 * time.Second)
		get(200) // the broker has no newer one, so that this is reported
		wantCalls(t, b, 4, 1)
	})
}

func TestTheRefusalIsFoundThroughTheHTTPClient(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		b.fail = refusal(t, codes.FailedPrecondition, ConsentRequired, 0, map[string]string{"link": "https://h/c"})
		_, err := (&http.Client{Transport: &Transport{Source: c.TokenSource(t.Context(), grant), Base: &fakeAPI{}}}).Get(base)
		if e, ok := errors.AsType[*Error](err); !ok || e.Link != "https://h/c" {
			t.Errorf("got %v, want CONSENT_REQUIRED with a link", err)
		}
	})
}
