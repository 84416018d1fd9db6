package identity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/identity/identitytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keyServer is an issuer's key server without a network.
type keyServer struct {
	mu    sync.Mutex // guards all below
	set   string
	down  bool
	reads int
}

func (s *keyServer) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.down {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(s.set)), Request: req}, nil
}

func (s *keyServer) change(f func(*keyServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func published(t *testing.T, keys ...identitytest.Key) string {
	t.Helper()
	var texts []string
	for _, k := range keys {
		text, err := (&jose.JSONWebKey{Key: k.Public(), KeyID: k.ID, Use: "sig"}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return `{"keys":[` + strings.Join(texts, ",") + `]}`
}

const issuerURL = "https://issuer.example.com"

func trusting(t *testing.T, s *keyServer) *Trust {
	t.Helper()
	trust, err := New(Config{
		Issuers: []Issuer{{
			URL: issuerURL, KeysURL: issuerURL + "/keys", Audience: "holdfast", Name: "ci:{sub}",
			Client: &http.Client{Transport: s}, Algorithms: []string{"ES256"}, KeysMaxAge: 30 * time.Minute,
		}},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// inTime runs f in a bubble of virtual time, with a trust whose keys are kept.
func inTime(t *testing.T, s *keyServer, f func(t *testing.T, trust *Trust)) {
	synctest.Test(t, func(t *testing.T) {
		trust := trusting(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() { defer close(ran); trust.Run(ctx) }()
		synctest.Wait()
		f(t, trust)
		cancel()
		<-ran
	})
}

func signed(t *testing.T, k identitytest.Key, n int) string {
	now := time.Now()
	return "Bearer " + k.Sign(t, map[string]any{
		"iss": issuerURL, "aud": "holdfast", "sub": fmt.Sprint("s", n), "exp": now.Add(48 * time.Hour).Unix(),
	})
}

func reasonOf(err error) broker.Reason {
	if err == nil {
		return "OK"
	}
	return broker.ReasonOf(err)
}

func TestKnownKeysOutliveTheirServerForABoundedTime(t *testing.T) {
	key := identitytest.NewKey(t, "one", "ES256")
	s := &keyServer{set: published(t, key)}
	inTime(t, s, func(t *testing.T, trust *Trust) {
		token := signed(t, key, 1)
		ask := func() broker.Reason {
			_, err := trust.AwaitBearer(t.Context(), token, time.Now())
			return reasonOf(err)
		}
		if got := ask(); got != "OK" {
			t.Fatal(got)
		}
		s.change(func(s *keyServer) { s.down = true })
		<-time.After(29 * time.Minute)
		if got := ask(); got != "OK" {
			t.Fatalf("before the keys are too old: %v", got)
		}
		<-time.After(12 * time.Minute)
		if got := ask(); got != broker.ReasonKeyUnavailable {
			t.Fatalf("after they are: %v, even for a token that was verified before", got)
		}
		s.change(func(s *keyServer) { s.down = false })
		<-time.After(keysGap)
		if got := ask(); got != "OK" {
			t.Fatalf("when they can be read again: %v", got)
		}
	})
}

func TestAKeyThatIsTakenAwayEndsItsTokensWithoutAnybodyAsking(t *testing.T) {
	old, next := identitytest.NewKey(t, "one", "ES256"), identitytest.NewKey(t, "two", "ES256")
	s := &keyServer{set: published(t, old)}
	inTime(t, s, func(t *testing.T, trust *Trust) {
		token := signed(t, old, 1)
		if _, err := trust.Bearer(token, time.Now()); err != nil {
			t.Fatal(err)
		}
		s.change(func(s *keyServer) { s.set = published(t, next) })
		changed := trust.Changed()
		<-time.After(keysEvery)
		synctest.Wait()
		select {
		case <-changed:
		default:
			t.Error("no new epoch")
		}
		if _, err := trust.Bearer(token, time.Now()); reasonOf(err) == "OK" {
			t.Error("the token is still believed")
		}
	})
}

func TestATokenWhoseKeyIsGoneWaitsForNoFurtherRead(t *testing.T) {
	old, next := identitytest.NewKey(t, "one", "ES256"), identitytest.NewKey(t, "two", "ES256")
	s := &keyServer{set: published(t, old)}
	trust := trusting(t, s) // nothing reads but what is called here
	keys, token := trust.issuers[0].keys, signed(t, old, 1)
	if _, err := keys.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := trust.Bearer(token, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.set = published(t, next)
	var asked error // by what stands on the token, as soon as the epoch changes
	announce := keys.changed
	keys.changed = func() {
		announce()
		_, asked = trust.Bearer(token, time.Now())
	}
	if _, err := keys.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := reasonOf(asked); got != broker.ReasonCallerUnauthenticated {
		t.Errorf("%s: %v", got, asked)
	}
}

func TestUnknownKeysAreNotAskedForMoreOftenThanAllowed(t *testing.T) {
	key := identitytest.NewKey(t, "one", "ES256")
	s := &keyServer{set: published(t, key)}
	inTime(t, s, func(t *testing.T, trust *Trust) {
		for n := range 60 { // a minute
			token := signed(t, identitytest.NewKey(t, fmt.Sprint("x", n), "ES256"), n)
			var waiters sync.WaitGroup
			for range 5 {
				waiters.Go(func() {
					if _, err := trust.AwaitBearer(t.Context(), token, time.Now()); reasonOf(err) != broker.ReasonCallerUnauthenticated {
						t.Errorf("got %v", err)
					}
				})
			}
			waiters.Wait()
			<-time.After(time.Second)
		}
		s.change(func(s *keyServer) {
			if s.reads > 7 {
				t.Errorf("%d reads in a minute", s.reads)
			}
		})
	})
}

func TestAnEqualSetIsNoNews(t *testing.T) {
	one, two := identitytest.NewKey(t, "one", "ES256"), identitytest.NewKey(t, "two", "ES256")
	s := &keyServer{set: published(t, one, two)}
	inTime(t, s, func(t *testing.T, trust *Trust) {
		before := trust.Epoch()
		s.change(func(s *keyServer) { s.set = published(t, two, one) })
		<-time.After(3 * keysEvery)
		synctest.Wait()
		if got := trust.Epoch(); got != before {
			t.Errorf("epoch %d became %d", before, got)
		}
	})
}

func TestKeySetsAreReadStrictly(t *testing.T) {
	good := identitytest.NewKey(t, "one", "ES256")
	whole := published(t, good)
	mixed := strings.Replace(whole, `{"keys":[`, `{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"s"},{"kty":"new"},`, 1)
	rows := []struct {
		name, text string
		keys       int
	}{
		{"one", whole, 1},
		{"beside a shared secret and an unknown kind", mixed, 1},
		{"for encryption", strings.Replace(whole, `"use":"sig"`, `"use":"enc"`, 1), 0},
		{"none", `{"keys":[]}`, 0},
		{"no set", `[]`, 0},
		{"a page", `<html>`, 0},
		{"too many", `{"keys":[` + strings.Repeat(`{},`, keysMost) + `{}]}`, 0},
	}
	for _, row := range rows {
		got, err := parseKeys([]byte(row.text))
		if len(got) != row.keys || (err == nil) != (row.keys > 0) {
			t.Errorf("%s: %d keys, %v", row.name, len(got), err)
		}
	}
}

func TestTheTokenCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	var c cache
	key := func(n int) [sha256.Size]byte { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n))) }
	used, id := key(0), &Identity{}
	c.put(used, 1, id)
	for n := 1; n <= 100_000; n++ {
		c.put(key(n), 1, id)
		if n%1000 == 0 && c.get(used, 1) == nil {
			t.Fatalf("forgotten after %d others, though it is used", n)
		}
	}
	held := 0
	for i := range c.shards {
		held += len(c.shards[i].young) + len(c.shards[i].old)
	}
	if held > 2*cacheHalf*cacheShards {
		t.Errorf("it holds %d", held)
	}
	if c.get(used, 2) != nil {
		t.Error("an identity of another epoch is believed")
	}
}
