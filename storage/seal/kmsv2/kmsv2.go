// Package kmsv2 is a KEK behind a plugin that speaks the Kubernetes KMS v2
// protocol on a unix socket, as those of the cloud providers, of PKCS #11 modules
// and of Vault do. What runs there, and with which key, is the plugin's business.
//
// What is stored of a wrapped key is the plugin's EncryptResponse, as protobuf: the
// ciphertext, the id of the key and the annotations that decrypting needs. The
// plugin may rotate its key by itself; it decrypts what older keys wrapped.
package kmsv2

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	kmsapi "k8s.io/kms/apis/v2"

	"github.com/holdfast-io/holdfast/storage/seal"
)

// The bounds of the protocol: k8s.io/kms, apis/v2/api.proto.
const (
	maxCiphertext  = 1 << 10
	maxKeyID       = 1 << 10
	maxAnnotations = 32 << 10
)

// timeout bounds one call if its context does not.
const timeout = 10 * time.Second

// KEK asks the plugin on a socket. It keeps no connection, so that it needs no
// closing and finds a restarted plugin at once.
type KEK struct{ socket string }

// New returns the KEK of the plugin at socket, a path. Nothing is connected yet.
func New(socket string) (*KEK, error) {
	path, err := filepath.Abs(socket)
	if err != nil {
		return nil, fmt.Errorf("the KMS plugin's socket %s: %w", socket, err)
	}
	return &KEK{socket: path}, nil
}

// ID is the same for all plugins: only they know by which key a ciphertext can be opened.
func (k *KEK) ID() string { return "kms-v2" }

// Wrap has the plugin encrypt key.
func (k *KEK) Wrap(ctx context.Context, key []byte) ([]byte, error) {
	var wrapped []byte
	err := k.call(ctx, func(ctx context.Context, c kmsapi.KeyManagementServiceClient) error {
		answer, err := c.Encrypt(ctx, &kmsapi.EncryptRequest{Plaintext: key, Uid: rand.Text()})
		if err != nil {
			return k.failed("to encrypt", err)
		}
		if err := usable(answer); err != nil {
			return k.broken(err)
		}
		wrapped, err = proto.MarshalOptions{Deterministic: true}.Marshal(answer)
		return err
	})
	return wrapped, err
}

func (k *KEK) broken(why error) error {
	return fmt.Errorf("the KMS plugin at %s breaks its protocol: %w; use another version of it", k.socket, why)
}

// usable checks what the protocol demands of an answer that is to be stored.
func usable(a *kmsapi.EncryptResponse) error {
	size := 0
	for name, value := range a.GetAnnotations() {
		size += len(name) + len(value)
	}
	switch {
	case len(a.GetCiphertext()) == 0 || len(a.GetCiphertext()) >= maxCiphertext:
		return fmt.Errorf("a ciphertext of %d bytes, want 1 to %d", len(a.GetCiphertext()), maxCiphertext-1)
	case a.GetKeyId() == "" || len(a.GetKeyId()) >= maxKeyID:
		return fmt.Errorf("a key id of %d bytes, want 1 to %d", len(a.GetKeyId()), maxKeyID-1)
	case size >= maxAnnotations:
		return fmt.Errorf("annotations of %d bytes, want less than %d", size, maxAnnotations)
	}
	return nil
}

// Unwrap has the plugin decrypt what Wrap returned.
func (k *KEK) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	var stored kmsapi.EncryptResponse
	if err := proto.Unmarshal(wrapped, &stored); err != nil || usable(&stored) != nil {
		return nil, seal.ErrOpen
	}
	var key []byte
	err := k.call(ctx, func(ctx context.Context, c kmsapi.KeyManagementServiceClient) error {
		answer, err := c.Decrypt(ctx, &kmsapi.DecryptRequest{
			Ciphertext: stored.GetCiphertext(), KeyId: stored.GetKeyId(), Annotations: stored.GetAnnotations(), Uid: rand.Text(),
		})
		if err != nil {
			return k.failed(fmt.Sprintf("to decrypt with key %.80q", stored.GetKeyId()), err)
		}
		if key = answer.GetPlaintext(); len(key) == 0 {
			return k.broken(errors.New("an empty plaintext"))
		}
		return nil
	})
	return key, err
}

// call connects, looks at the plugin's health, and calls f.
func (k *KEK) call(ctx context.Context, f func(context.Context, kmsapi.KeyManagementServiceClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := grpc.NewClient("unix:"+k.socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a socket of this machine: its file mode says who may use it
		grpc.WithDisableServiceConfig(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(seal.MaxKEKAnswer)))
	if err != nil {
		return fmt.Errorf("connecting to the KMS plugin at %s: %w", k.socket, err)
	}
	defer func() { _ = conn.Close() }() // nothing is buffered in it
	c := kmsapi.NewKeyManagementServiceClient(conn)
	health, err := c.Status(ctx, &kmsapi.StatusRequest{})
	if err != nil {
		return k.failed("for its status", err)
	}
	if v := health.GetVersion(); v != "v2" && v != "v2beta1" {
		return fmt.Errorf("the KMS plugin at %s speaks version %.20q of the protocol, want v2: use another plugin", k.socket, v)
	}
	if health.GetHealthz() != "ok" {
		return fmt.Errorf("%w: the KMS plugin at %s says that it is not healthy: its own log says why", seal.ErrUnavailable, k.socket)
	}
	return f(ctx, c)
}

// failed says what to do. The plugin's own text is left out: nobody knows what is in it.
func (k *KEK) failed(asked string, err error) error {
	switch code := status.Code(err); code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return fmt.Errorf("%w: no answer from the KMS plugin at %s, asked %s: start it, or give the right socket and the right to use it", seal.ErrUnavailable, k.socket, asked)
	case codes.Unimplemented:
		return fmt.Errorf("what answers at %s does not speak the KMS v2 protocol: give the socket of a KMS v2 plugin", k.socket)
	default:
		return fmt.Errorf("%w: the KMS plugin at %s refused, asked %s (%v): its own log says why; the key may be another one, or may have been disabled",
			seal.ErrUnavailable, k.socket, asked, code)
	}
}
