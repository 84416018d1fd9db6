package kmsv2_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"k8s.io/kms/pkg/service"

	"github.com/holdfast-io/holdfast/storage/seal"
	"github.com/holdfast-io/holdfast/storage/seal/kmsv2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plugin is a KMS v2 plugin with keys in memory, as its authors would write one.
type plugin struct {
	mu      sync.Mutex
	keys    map[string]cipher.AEAD // by id; guarded by mu, as all of this
	current string
	healthz string
	version string
	annot   map[string][]byte
	fail    error
	hang    bool
}

func newPlugin(id string) *plugin {
	p := &plugin{keys: map[string]cipher.AEAD{}, healthz: "ok", version: "v2", annot: map[string][]byte{"local.kms.example": []byte("wrapped local key")}}
	p.rotate(id)
	return p
}

func (p *plugin) rotate(id string) {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, _ := aes.NewCipher(key)
	aead, _ := cipher.NewGCMWithRandomNonce(block)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[id], p.current = aead, id
}

func (p *plugin) edit(f func(*plugin)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

func (p *plugin) Status(ctx context.Context) (*service.StatusResponse, error) {
	p.mu.Lock()
	hang := p.hang
	p.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return &service.StatusResponse{Version: p.version, Healthz: p.healthz, KeyID: p.current}, nil
}

func (p *plugin) Encrypt(_ context.Context, uid string, data []byte) (*service.EncryptResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil || uid == "" {
		return nil, p.fail
	}
	return &service.EncryptResponse{Ciphertext: p.keys[p.current].Seal(nil, nil, data, nil), KeyID: p.current, Annotations: p.annot}, nil
}

func (p *plugin) Decrypt(_ context.Context, uid string, req *service.DecryptRequest) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil || uid == "" {
		return nil, p.fail
	}
	key := p.keys[req.KeyID]
	if key == nil || !bytes.Equal(req.Annotations["local.kms.example"], p.annot["local.kms.example"]) {
		return nil, errors.New("provider-text-canary: no such key")
	}
	return key.Open(nil, nil, req.Ciphertext, nil)
}

// serve runs the plugin at the socket until the function that it returns is called.
func serve(t *testing.T, socket string, p service.Service) func() {
	t.Helper()
	s := service.NewGRPCService(socket, time.Second, p)
	done := make(chan error, 1)
	go func() { done <- s.ListenAndServe() }()
	for { // until it listens
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			break
		}
		select {
		case err := <-done:
			t.Fatal(err)
		default:
		}
	}
	var once sync.Once
	stop := func() {
		once.Do(func() {
			s.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func rig(t *testing.T) (*plugin, *kmsv2.KEK, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kms") //nolint:usetesting // a socket's path is short, and t.TempDir has the test's name in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "kms.sock")
	kek, err := kmsv2.New(socket)
	if err != nil {
		t.Fatal(err)
	}
	return newPlugin("key-1"), kek, socket
}

func TestAKeyIsWrappedByThePluginAndOpensAfterItRotatedItsOwn(t *testing.T) {
	p, kek, socket := rig(t)
	stop := serve(t, socket, p)
	key := seal.NewKey()
	wrapped, err := kek.Wrap(t.Context(), key)
	if err != nil || bytes.Contains(wrapped, key) || !bytes.Contains(wrapped, []byte("key-1")) || !bytes.Contains(wrapped, []byte("wrapped local key")) {
		t.Fatalf("wrapped %q, error %v; want the key's id and the annotations in it", wrapped, err)
	}
	p.rotate("key-2")
	if got, err := kek.Unwrap(t.Context(), wrapped); err != nil || !bytes.Equal(got, key) {
		t.Errorf("after the plugin rotated its key: error %v", err)
	}
	if again, err := kek.Wrap(t.Context(), key); err != nil || !bytes.Contains(again, []byte("key-2")) {
		t.Errorf("wrapped anew: %q, error %v", again, err)
	}
	stop()
	if _, err := kek.Unwrap(t.Context(), wrapped); !errors.Is(err, seal.ErrUnavailable) || !strings.Contains(err.Error(), socket) {
		t.Errorf("without the plugin: %v", err)
	}
	serve(t, socket, p)
	if _, err := kek.Unwrap(t.Context(), wrapped); err != nil {
		t.Errorf("with the plugin back: %v", err)
	}
}

func TestWhatIsWrongWithAPluginIsSaid(t *testing.T) {
	for _, row := range []struct {
		name  string
		edit  func(*plugin)
		again bool // it may work later
		want  string
	}{
		{"unhealthy", func(p *plugin) { p.healthz = "provider-text-canary" }, true, "not healthy"},
		{"another version", func(p *plugin) { p.version = "v3" }, false, "version \"v3\""},
		{"no version 1 either", func(p *plugin) { p.version = "v1beta1" }, false, "want v2"},
		{"refusing", func(p *plugin) { p.fail = errors.New("provider-text-canary") }, true, "refused"},
		{"another key", func(p *plugin) { delete(p.keys, "key-1") }, true, `with key "key-1"`},
		{"other annotations", func(p *plugin) { p.annot = nil }, true, "refused"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, kek, socket := rig(t)
			serve(t, socket, p)
			wrapped, err := kek.Wrap(t.Context(), seal.NewKey())
			if err != nil {
				t.Fatal(err)
			}
			p.edit(row.edit)
			_, err = kek.Unwrap(t.Context(), wrapped)
			if err == nil || errors.Is(err, seal.ErrUnavailable) != row.again || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the plugin's own text is in the error: %v", err)
			}
		})
	}
}

func TestAnAnswerThatBreaksTheProtocolIsNotStored(t *testing.T) {
	for name, edit := range map[string]func(*plugin){
		"no key id":            func(p *plugin) { p.keys[""], p.current = p.keys["key-1"], "" },
		"a key id of 1 kB":     func(p *plugin) { id := strings.Repeat("k", 1024); p.keys[id], p.current = p.keys["key-1"], id },
		"annotations of 32 kB": func(p *plugin) { p.annot = map[string][]byte{"a.example": make([]byte, 32<<10)} },
	} {
		p, kek, socket := rig(t)
		serve(t, socket, p)
		p.edit(edit)
		if _, err := kek.Wrap(t.Context(), seal.NewKey()); err == nil || !strings.Contains(err.Error(), "breaks its protocol") {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, kek, socket := rig(t)
	serve(t, socket, p)
	if _, err := kek.Wrap(t.Context(), make([]byte, 2000)); err == nil || !strings.Contains(err.Error(), "ciphertext of") {
		t.Errorf("a ciphertext of more than 1 kB: %v", err)
	}
}

func TestWhatIsStoredOfAWrappedKeyIsChecked(t *testing.T) {
	p, kek, socket := rig(t)
	serve(t, socket, p)
	key := seal.NewKey()
	wrapped, err := kek.Wrap(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for i := range wrapped {
		changed := bytes.Clone(wrapped)
		changed[i] ^= 1
		if got, err := kek.Unwrap(t.Context(), changed); err == nil && !bytes.Equal(got, key) {
			t.Errorf("with byte %d changed another key came out", i)
		}
	}
	for name, bad := range map[string][]byte{"nothing": nil, "no protobuf": []byte("vault:v1:abc"), "half": wrapped[:len(wrapped)/2]} {
		if _, err := kek.Unwrap(t.Context(), bad); err == nil {
			t.Errorf("%s was unwrapped", name)
		}
	}
}

func TestAPluginThatHangsOrIsNoneEndsInTime(t *testing.T) {
	p, kek, socket := rig(t)
	serve(t, socket, p)
	p.edit(func(p *plugin) { p.hang = true })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := kek.Wrap(ctx, seal.NewKey()); !errors.Is(err, seal.ErrUnavailable) {
		t.Errorf("a plugin that hangs: %v", err)
	}

	_, kek, socket = rig(t)
	lis, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	other := grpc.NewServer() // speaks gRPC, and nothing of the protocol
	done := make(chan error, 1)
	go func() { done <- other.Serve(lis) }()
	t.Cleanup(func() {
		other.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if _, err := kek.Wrap(t.Context(), seal.NewKey()); err == nil || errors.Is(err, seal.ErrUnavailable) || !strings.Contains(err.Error(), "does not speak") {
		t.Errorf("another server: %v", err)
	}
}
