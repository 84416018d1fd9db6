package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	// keysEvery is how often an issuer's keys are read again, so that a key that
	// was taken away ends its tokens.
	keysEvery = 5 * time.Minute
	// keysGap is the least time between two reads, whatever tokens come.
	keysGap = 10 * time.Second
	// keysTimeout bounds one read, its discovery included.
	keysTimeout = 10 * time.Second
	// keysLargest answer in bytes, and the most keys in it.
	keysLargest = 1 << 20
	keysMost    = 128
	// leastRSA is the least size of an RSA key in bits (RFC 7518, 3.3).
	leastRSA = 2048
)

// keys of one issuer. Only run reads them from the issuer; verifying never blocks.
type keys struct {
	issuer *issuer
	log    *slog.Logger
	now    func() time.Time
	// changed is told that tokens must be verified again.
	changed func()

	known  atomic.Pointer[keySet]
	wanted chan struct{}
	ended  *Broadcast // of each read

	mu    sync.Mutex // guards both
	began time.Time  // of the newest read, or when it was asked for
	asked bool       // a read is asked for or under way
}

// keySet is what one read found; immutable.
type keySet struct {
	keys []jose.JSONWebKey
	at   time.Time
	// text tells sets apart.
	text string
}

func newKeys(i *issuer, log *slog.Logger, now func() time.Time, changed func()) *keys {
	k := &keys{issuer: i, log: log, now: now, changed: changed, wanted: make(chan struct{}, 1), ended: NewBroadcast()}
	k.known.Store(&keySet{})
	return k
}

// want asks for a read because of a token with an unknown key. The channel is
// closed when the read under way has ended; nil: there was one just now.
func (k *keys) want() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.now(); !k.asked {
		if now.Sub(k.began) < keysGap && !now.Before(k.began) {
			return nil
		}
		k.asked, k.began = true, now
		k.wanted <- struct{}{} // has room: read emptied it before asked became false
	}
	return k.ended.Next()
}

// run reads the keys now, then every keysEvery and when they are wanted, until
// ctx ends. While reads fail, they are tried more often.
func (k *keys) run(ctx context.Context) {
	wait, failed := time.Duration(0), time.Duration(0)
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-k.wanted:
			timer.Stop()
		}
		switch changed, err := k.read(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			failed = min(max(2*failed, keysGap), keysEvery)
			wait = failed
			k.log.Error("the keys of an issuer cannot be read, so that its new tokens cannot be verified", "issuer", k.issuer.URL, "error", err, "next_try_in", wait)
			k.age()
		default:
			failed, wait = 0, keysEvery
			if changed {
				k.log.Info("read the keys of an issuer", "issuer", k.issuer.URL, "keys", len(k.known.Load().keys))
			}
		}
	}
}

// read reads the keys once and says whether they are others than before; then
// tokens are verified again.
func (k *keys) read(ctx context.Context) (changed bool, _ error) {
	k.mu.Lock()
	k.began, k.asked = k.now(), true
	at := k.began
	select {
	case <-k.wanted: // this read is what was wanted
	default:
	}
	k.mu.Unlock()
	defer k.ended.Announce()
	found, err := k.fetch(ctx)
	if err == nil {
		set := &keySet{keys: found, at: at, text: canonical(found)}
		changed = k.known.Swap(set).text != set.text
	}
	k.mu.Lock()
	k.asked = false // before tokens are verified again: one whose key is gone waits for no further read
	k.mu.Unlock()
	if changed {
		k.changed() // before anybody who waits for this read goes on: no token of a key that is gone passes behind one of a new key
	}
	return changed, err
}

// age drops keys that could not be read again for too long: whether the issuer
// still stands by them is not known.
func (k *keys) age() {
	set := k.known.Load()
	if len(set.keys) == 0 || k.now().Sub(set.at) <= k.issuer.KeysMaxAge {
		return
	}
	k.known.Store(&keySet{})
	k.log.Error("the keys of an issuer are too old to be believed: its callers are refused until they can be read again", "issuer", k.issuer.URL, "read_at", set.at)
	k.changed()
}

// fetch asks the issuer, by discovery if no URL is configured.
func (k *keys) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	client := k.issuer.Client
	if client == nil {
		client = http.DefaultClient
	}
	at := k.issuer.KeysURL
	if at == "" {
		provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), k.issuer.URL)
		if err != nil {
			return nil, fmt.Errorf("discovering where the keys are: %w", err)
		}
		var found struct {
			KeysURL string `json:"jwks_uri"`
		}
		if err := provider.Claims(&found); err != nil {
			return nil, fmt.Errorf("discovering where the keys are: %w", err)
		}
		if at = found.KeysURL; !https(at) {
			return nil, errors.New("discovering where the keys are: the issuer names no https URL for them; configure jwks_url")
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, fmt.Errorf("asking for the keys: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking for the keys: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking for the keys at %s: HTTP status %d", at, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, keysLargest+1))
	if err != nil {
		return nil, fmt.Errorf("reading the keys: %w", err)
	}
	return parseKeys(body)
}

// parseKeys reads a JSON Web Key Set. Keys that cannot verify a token here, or
// of a kind that is not known, are left out; a set without any other is an error.
func parseKeys(body []byte) ([]jose.JSONWebKey, error) {
	if len(body) > keysLargest {
		return nil, fmt.Errorf("the key set is larger than %d bytes", keysLargest)
	}
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, errors.New("the answer is no JSON Web Key Set")
	}
	if len(raw.Keys) > keysMost {
		return nil, fmt.Errorf("the key set has more than %d keys", keysMost)
	}
	var found []jose.JSONWebKey
	for _, text := range raw.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(text, &key) == nil && verifies(&key) {
			found = append(found, key)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("the key set holds no public key for signatures")
	}
	return found, nil
}

// canonical is the same for equal sets, in whatever order.
func canonical(set []jose.JSONWebKey) string {
	var prints []string
	for _, k := range set {
		text, err := k.MarshalJSON()
		if err != nil {
			continue // it was read from JSON
		}
		prints = append(prints, string(text))
	}
	slices.Sort(prints)
	return strings.Join(prints, "\n")
}
