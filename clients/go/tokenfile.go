package holdfast

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// tokenFileInterval is the least time between two looks at a token's file.
// Orchestrators replace it long before the old token ends: Kubernetes does when
// a fifth of its life is left.
const tokenFileInterval = 5 * time.Second

// TokenFile returns credentials that show the bearer token in the file with each
// call, such as a Kubernetes projected service-account token. The file is read
// again when it changes; a file that is just being replaced does not end the
// token that was in it. It fails if the file cannot be read now. Dial needs it
// only by WithTokenFile; it is for connections that the caller makes.
func TokenFile(file string) (credentials.PerRPCCredentials, error) {
	f := &tokenFile{file: file, now: time.Now}
	if _, err := f.token(); err != nil {
		return nil, err
	}
	return f, nil
}

type tokenFile struct {
	file string
	now  func() time.Time

	mu     sync.Mutex // guards all below
	header string
	looked time.Time
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (f *tokenFile) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	header, err := f.token()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": header}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: whoever
// reads a token may be its caller.
func (f *tokenFile) RequireTransportSecurity() bool { return true }

func (f *tokenFile) token() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if f.header != "" && now.Sub(f.looked) < tokenFileInterval && !now.Before(f.looked) {
		return f.header, nil
	}
	text, err := readToken(f.file)
	switch {
	case err == nil:
		f.header, f.looked = "Bearer "+text, now
	case f.header == "":
		return "", err
	}
	return f.header, nil
}

func readToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the caller's token: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" || strings.ContainsAny(text, " \t\r\n") {
		return "", errors.New("reading the caller's token: " + file + " does not hold one token")
	}
	return text, nil
}
