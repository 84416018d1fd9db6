// Package kmsplugin is a KMS v2 plugin for tests of the real binary, built on
// k8s.io/kms as its authors would build one. It keeps its keys in memory, can go
// away and come back, and shows what was said on its socket.
package kmsplugin

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/kms/pkg/service"
)

// keyID is what the plugin calls its key.
const keyID = "key-of-a-test"

// Plugin serves at Socket while it is up.
type Plugin struct {
	// Socket is its path, short enough for a socket.
	Socket string
	// Heard is told each key that the plugin was given to encrypt or has given back,
	// and each ciphertext and annotation that it made; nil: nobody is.
	Heard func(what string, content []byte)

	aead  cipher.AEAD
	local []byte

	mu      sync.Mutex // guards what follows
	refuses string
	server  *service.GRPCService
	ended   chan error
}

// New makes a plugin that is not up, until the test ends. heard may be nil.
func New(t testing.TB, heard func(what string, content []byte)) *Plugin {
	t.Helper()
	dir, err := os.MkdirTemp("", "kms") //nolint:usetesting // a socket's path is short, and t.TempDir has the test's name in it
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	p := &Plugin{Socket: filepath.Join(dir, "kms.sock"), Heard: heard, local: []byte(rand.Text())}
	if p.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Down(t)
		_ = os.RemoveAll(dir)
	})
	return p
}

// Up lets it serve; it returns once it listens.
func (p *Plugin) Up(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server, p.ended = service.NewGRPCService(p.Socket, time.Second, p), make(chan error, 1)
	go func(s *service.GRPCService, ended chan<- error) { ended <- s.ListenAndServe() }(p.server, p.ended)
	for {
		if c, err := net.Dial("unix", p.Socket); err == nil {
			_ = c.Close()
			return
		}
		select {
		case err := <-p.ended:
			t.Fatalf("the plugin does not listen: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
}

// Down ends it, as if it had been stopped. It may be down already.
func (p *Plugin) Down(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return
	}
	p.server.Close()
	if err := <-p.ended; err != nil {
		t.Errorf("the plugin ended with %v", err)
	}
	p.server = nil
}

// Refuse lets every call fail with that text; "": no more.
func (p *Plugin) Refuse(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = text
}

func (p *Plugin) refusal() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuses == "" {
		return nil
	}
	return errors.New(p.refuses)
}

func (p *Plugin) heard(what string, content []byte) {
	if p.Heard != nil {
		p.Heard(what, content)
	}
}

// Status implements service.Service.
func (p *Plugin) Status(context.Context) (*service.StatusResponse, error) {
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: keyID}, nil
}

// Encrypt implements service.Service.
func (p *Plugin) Encrypt(_ context.Context, _ string, data []byte) (*service.EncryptResponse, error) {
	if err := p.refusal(); err != nil {
		return nil, err
	}
	sealed := p.aead.Seal(nil, nil, data, nil)
	p.heard("key", data)
	p.heard("ciphertext", sealed)
	p.heard("annotation", p.local)
	return &service.EncryptResponse{Ciphertext: sealed, KeyID: keyID, Annotations: map[string][]byte{"local.kms.example": p.local}}, nil
}

// Decrypt implements service.Service.
func (p *Plugin) Decrypt(_ context.Context, _ string, req *service.DecryptRequest) ([]byte, error) {
	if err := p.refusal(); err != nil {
		return nil, err
	}
	if req.KeyID != keyID {
		return nil, errors.New("no such key")
	}
	data, err := p.aead.Open(nil, nil, req.Ciphertext, nil)
	if err == nil {
		p.heard("key", data)
	}
	return data, err
}
