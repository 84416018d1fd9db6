package atlassian

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
)

func httpAnswer(status, headers, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", status, headers, len(body), body)
}

func say(text string) func(*net.TCPConn) {
	return func(c *net.TCPConn) { _, _ = c.Write([]byte(text)) }
}

// sayAndReset resets the connection once text has arrived.
func sayAndClose(text string) func(*net.TCPConn) {
	return func(c *net.TCPConn) { _, _ = c.Write([]byte(text)); c.Close() }
}

func sayAndReset(text string) func(*net.TCPConn) {
	return func(c *net.TCPConn) { _, _ = c.Write([]byte(text)); _ = c.SetLinger(0); c.Close() }
}

// TestEverySpendIsOnePOST drives every way in which an answer can go wrong once
// the request was read, and counts what the provider saw.
func TestEverySpendIsOnePOST(t *testing.T) {
	html := "<html>" + canary + "</html>"
	cases := []struct {
		name   string
		script func(*net.TCPConn)
		class  family.Class
		code   string
	}{
		{"a pair", say(httpAnswer("200 OK", "", goodPair)), family.Settled, ""},
		{"a pair, connection kept open", say(httpAnswer("200 OK", "Connection: keep-alive\r\n", goodPair)), family.Settled, ""},
		{"a pair, then the length lies", sayAndClose(strings.Replace(httpAnswer("200 OK", "", goodPair), "Content-Length: ", "Content-Length: 9", 1)), family.Settled, ""},
		{"reset before the headers", sayAndReset(""), family.InDoubt, "reset"},
		{"closed before the headers", sayAndClose(""), family.InDoubt, "closed"},
		{"closed inside the headers", sayAndClose("HTTP/1.1 200 OK\r\nContent-Type: appl"), family.InDoubt, "closed"},
		{"closed inside the body", sayAndClose(httpAnswer("200 OK", "", goodPair)[:180]), family.InDoubt, "closed"},
		{"not HTTP", sayAndClose(canary + " 220 smtp ready\r\n\r\n"), family.InDoubt, "broken"},
		{"headers without end", sayAndClose("HTTP/1.1 200 OK\r\nX: " + strings.Repeat(canary, 20000)), family.InDoubt, "broken"},
		{"301", say(httpAnswer("301 Moved Permanently", "Location: /elsewhere\r\n", "")), family.InDoubt, "http_301"},
		{"307", say(httpAnswer("307 Temporary Redirect", "Location: /elsewhere\r\n", "")), family.InDoubt, "http_307"},
		{"308 with a pair", say(httpAnswer("308 Permanent Redirect", "Location: /elsewhere\r\n", goodPair)), family.InDoubt, "http_308"},
		{"500", say(httpAnswer("500 Internal Server Error", "", `{"error":"invalid_grant"}`)), family.InDoubt, "http_500"},
		{"502 HTML", say(httpAnswer("502 Bad Gateway", "", html)), family.InDoubt, "http_502"},
		{"503 with Retry-After", say(httpAnswer("503 Service Unavailable", "Retry-After: 0\r\n", "")), family.InDoubt, "http_503"},
		{"504 with a pair", say(httpAnswer("504 Gateway Timeout", "", goodPair)), family.InDoubt, "http_504"},
		{"408 asks for a repeat", sayAndClose(httpAnswer("408 Request Timeout", "Connection: close\r\n", "")), family.InDoubt, "http_408"},
		{"425", say(httpAnswer("425 Too Early", "", "")), family.InDoubt, "http_425"},
		{"HTML 200", say(httpAnswer("200 OK", "", html)), family.InDoubt, "not_json"},
		{"HTML 400", say(httpAnswer("400 Bad Request", "", html)), family.InDoubt, "http_400"},
		{"HTML 403", say(httpAnswer("403 Forbidden", "", html)), family.InDoubt, "http_403"},
		{"truncated JSON", say(httpAnswer("200 OK", "", goodPair[:90])), family.InDoubt, "truncated"},
		{"a real gzip body without label", say(httpAnswer("200 OK", "", "\x1f\x8b\x08\x00\x00\x00")), family.InDoubt, "not_json"},
		{"a gzip label on what is none", say(httpAnswer("200 OK", "Content-Encoding: gzip\r\n", "\x00"+goodPair)), family.InDoubt, "not_json"},
		{"a gzip label on a plain pair", say(httpAnswer("200 OK", "Content-Encoding: gzip\r\n", goodPair)), family.Settled, ""},
		{"oversize", say(httpAnswer("200 OK", "", `{"x":"`+strings.Repeat("x", maxBody)+`",`+goodPair[1:])), family.InDoubt, "oversize"},
		{"204", say("HTTP/1.1 204 No Content\r\n\r\n"), family.InDoubt, "not_json"},
		{"early hints first", say("HTTP/1.1 103 Early Hints\r\n\r\n" + httpAnswer("200 OK", "", goodPair)), family.Settled, ""},
		{"half an error", sayAndClose(strings.Replace(httpAnswer("403 Forbidden", "", `{"error":"invalid_grant"}`), "Content-Length: ", "Content-Length: 9", 1)), family.InDoubt, "http_403"},
		{"429", say(httpAnswer("429 Too Many Requests", "", html)), family.Transient, "rate_limited"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			s := newWireServer(t, tc.script)
			var dials countingDial
			p := provider(t, at(t, "atlassian", s.url()), Options{Dial: dials.dial})
			guards := 0
			out := p.Refresh(t.Context(), creds, oldRefresh, func() error { guards++; return nil })
			if out.Class != tc.class || out.Code != tc.code {
				t.Errorf("got %s %q, want %s %q", out.Class, out.Code, tc.class, tc.code)
			}
			if (out.Class == family.Settled) != !out.Pair.Access.Empty() {
				t.Errorf("class %s, access token empty: %t", out.Class, out.Pair.Access.Empty())
			}
			assertSilent(t, out)
			s.stop()
			if s.posts.Load() != 1 || s.connections.Load() != 1 || dials.n.Load() != 1 || guards != 1 {
				t.Errorf("%d POSTs on %d connections of %d dials under %d guards; want one of each",
					s.posts.Load(), s.connections.Load(), dials.n.Load(), guards)
			}
		})
	}
}

// assertSilent fails if formatting v in any way shows a canary.
func assertSilent(t *testing.T, v any) {
	t.Helper()
	encoded, _ := json.Marshal(v)
	all := fmt.Sprintf("%v %+v %#v %s %q", v, v, v, encoded, v)
	if strings.Contains(all, canary) {
		t.Errorf("a secret or the provider's text shows in %T: %s", v, all)
	}
}

// A spend never uses a connection that an earlier one left: a server that
// closes it without an answer must not be mistaken for one that saw nothing.
func TestConnectionsAreNeverReused(t *testing.T) {
	s := newWireServer(t, say(httpAnswer("200 OK", "Connection: keep-alive\r\n", goodPair)))
	p := provider(t, at(t, "atlassian", s.url()), Options{})
	for range 3 {
		if out := p.Refresh(t.Context(), creds, oldRefresh, nil); out.Class != family.Settled {
			t.Fatalf("got %s %q", out.Class, out.Code)
		}
	}
	if s.posts.Load() != 3 || s.connections.Load() != 3 {
		t.Fatalf("%d POSTs on %d connections, want 3 on 3", s.posts.Load(), s.connections.Load())
	}
}

func TestGuardThatFailsLetsNothingOut(t *testing.T) {
	s := newWireServer(t, say(httpAnswer("200 OK", "", goodPair)))
	p := provider(t, at(t, "atlassian", s.url()), Options{})
	out := p.Refresh(t.Context(), creds, oldRefresh, func() error { return errors.New("the lease is too short") })
	if diff := cmp.Diff(family.Outcome{Class: family.NotSpent, Code: "guard"}, out, cmp.Comparer(secret.String.Equal)); diff != "" {
		t.Error(diff)
	}
	s.stop()
	if s.posts.Load() != 0 {
		t.Errorf("%d requests reached the provider", s.posts.Load())
	}
}

func TestGuardRunsAfterTheConnectionStands(t *testing.T) {
	s := newWireServer(t, say(httpAnswer("200 OK", "", goodPair)))
	dialed := false
	p := provider(t, at(t, "atlassian", s.url()), Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		defer func() { dialed = true }()
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}})
	guard := func() error {
		if !dialed {
			t.Error("the guard ran before the dial was over")
		}
		return nil
	}
	if out := p.Refresh(t.Context(), creds, oldRefresh, guard); out.Class != family.Settled {
		t.Fatalf("got %s %q", out.Class, out.Code)
	}
}

func TestWhatIsSent(t *testing.T) {
	code := Code{Code: secret.New("the code"), Verifier: secret.New("the-verifier"), RedirectURI: "https://here/cb?a=b"}
	spendCode := func(p *Provider) family.Outcome { return p.Exchange(t.Context(), creds, code, nil) }
	spendRefresh := func(p *Provider) family.Outcome { return p.Refresh(t.Context(), creds, oldRefresh, nil) }
	common := map[string]string{"client_id": "client-1", "client_secret": creds.Secret.Reveal()}
	cases := []struct {
		name, profile string
		pkce          bool
		spend         func(*Provider) family.Outcome
		want          map[string]string
	}{
		{"refresh as JSON", "atlassian", true, spendRefresh, map[string]string{"grant_type": "refresh_token", "refresh_token": oldRefresh.Reveal()}},
		{"refresh as form", "oauth2", true, spendRefresh, map[string]string{"grant_type": "refresh_token", "refresh_token": oldRefresh.Reveal()}},
		{"code with PKCE", "oauth2", true, spendCode, map[string]string{"grant_type": "authorization_code", "code": "the code", "redirect_uri": "https://here/cb?a=b", "code_verifier": "the-verifier"}},
		{"code without PKCE", "atlassian", false, spendCode, map[string]string{"grant_type": "authorization_code", "code": "the code", "redirect_uri": "https://here/cb?a=b"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			s := newWireServer(t, say(httpAnswer("200 OK", "", goodPair)))
			profile := at(t, tc.profile, s.url())
			profile.PKCE = tc.pkce
			out := tc.spend(provider(t, profile, Options{}))
			if out.Class != family.Settled {
				t.Fatalf("got %s %q", out.Class, out.Code)
			}
			got := s.request()
			for k, v := range common {
				tc.want[k] = v
			}
			if diff := cmp.Diff(tc.want, decodeBody(t, profile.Body, got)); diff != "" {
				t.Error(diff)
			}
			if e := got.header.Get("Accept-Encoding"); e != "identity" {
				t.Errorf("Accept-Encoding %q", e)
			}
		})
	}
}

func decodeBody(t *testing.T, format BodyFormat, r recorded) map[string]string {
	t.Helper()
	out := map[string]string{}
	if format == BodyJSON {
		if err := json.Unmarshal([]byte(r.body), &out); err != nil || r.header.Get("Content-Type") != "application/json" {
			t.Fatalf("body %q of type %q: %v", r.body, r.header.Get("Content-Type"), err)
		}
		return out
	}
	form, err := url.ParseQuery(r.body)
	if err != nil || r.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Fatalf("body %q of type %q: %v", r.body, r.header.Get("Content-Type"), err)
	}
	for name, values := range form {
		out[name] = strings.Join(values, "|")
	}
	return out
}

func TestTokensOf64KiB(t *testing.T) {
	big := strings.Repeat("a", 64<<10)
	s := newWireServer(t, say(httpAnswer("200 OK", "", `{"access_token":"A`+big+`","refresh_token":"R`+big+`","expires_in":3600}`)))
	p := provider(t, at(t, "atlassian", s.url()), Options{})
	out := p.Refresh(t.Context(), creds, secret.New("O"+big), nil)
	want := family.Outcome{Class: family.Settled, Pair: family.Pair{
		Access: secret.New("A" + big), Refresh: secret.New("R" + big), ExpiresIn: time.Hour}}
	if diff := cmp.Diff(want, out, cmp.Comparer(secret.String.Equal)); diff != "" {
		t.Error(diff)
	}
	if sent := decodeBody(t, BodyJSON, s.request())["refresh_token"]; sent != "O"+big {
		t.Errorf("the provider saw %d bytes", len(sent))
	}
}

// deaf takes the beginning of a request and no more, and has answered already.
type deaf struct {
	net.Conn
	answer io.Reader
}

func (d deaf) Write(b []byte) (int, error) { return min(len(b), 10), syscall.EPIPE }
func (d deaf) Read(b []byte) (int, error)  { return d.answer.Read(b) }
func (d deaf) Close() error                { return nil }

// A pair is never lost over a provider that did not wait for the whole request.
func TestAnAnswerThatDidNotWaitForTheRequestCounts(t *testing.T) {
	for answer, want := range map[string]family.Outcome{
		httpAnswer("200 OK", "", goodPair): {Class: family.Settled},
		"":                                 {Class: family.InDoubt, Code: "reset"},
	} {
		dial := func(context.Context, string, string) (net.Conn, error) {
			return deaf{answer: strings.NewReader(answer)}, nil
		}
		profile := at(t, "atlassian", "http://provider.invalid")
		profile.PlainHTTP = true
		p := provider(t, profile, Options{Dial: dial})
		if out := p.Refresh(t.Context(), creds, oldRefresh, nil); out.Class != want.Class || out.Code != want.Code {
			t.Errorf("after %.15q: got %s %q, want %s %q", answer, out.Class, out.Code, want.Class, want.Code)
		}
	}
}
