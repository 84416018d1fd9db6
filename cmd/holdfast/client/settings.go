// Package client owns how the command line reaches a broker: from flags, the
// environment or the files of dev mode to a connection, and from a failed call
// to a message for people and an exit code. It knows no single rpc.
package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// DevDir is the directory that `holdfast dev` makes, and DevFile the file in it
// that tells clients how to reach it.
const (
	DevDir  = ".holdfast"
	DevFile = "client.json"
)

// Settings say how to reach a broker.
type Settings struct {
	// Addr is host:port of the broker's gRPC listener.
	Addr string `json:"addr"`
	// CA, Cert and Key are PEM files; empty CA means the system's certificates.
	CA   string `json:"ca"`
	Cert string `json:"cert"`
	Key  string `json:"key"`
	// TokenFile holds a bearer token that is shown instead of Cert. Not part of the
	// file of dev mode.
	TokenFile string `json:"-"`
	// ServerName to expect in the broker's certificate; empty: Addr's host.
	ServerName string `json:"server_name,omitempty"`

	// Timeout of one call. Not part of the file of dev mode.
	Timeout time.Duration `json:"-"`
	// Dir of dev mode; empty: DevDir, looked for from the working directory upwards.
	Dir string `json:"-"`

	// Instead is set by Resolve: a directory of dev mode at hand that the environment was
	// preferred to, and whose broker is another one. Empty: there is none.
	Instead string `json:"-"`
}

// Bind adds the flags that set s.
func (s *Settings) Bind(flags *pflag.FlagSet) {
	flags.StringVar(&s.Addr, "addr", "", "the broker's gRPC address, host:port (HOLDFAST_ADDR)")
	flags.StringVar(&s.CA, "ca", "", "PEM file of the CA that signed the broker's certificate; default: the system's (HOLDFAST_CA)")
	flags.StringVar(&s.Cert, "cert", "", "PEM file of the client certificate (HOLDFAST_CERT)")
	flags.StringVar(&s.Key, "key", "", "PEM file of the client certificate's key (HOLDFAST_KEY)")
	flags.StringVar(&s.TokenFile, "token-file", "", "file with a bearer token, instead of --cert and --key (HOLDFAST_TOKEN_FILE)")
	flags.StringVar(&s.ServerName, "server-name", "", "name to expect in the broker's certificate; default: the host of --addr (HOLDFAST_SERVER_NAME)")
	flags.StringVar(&s.Dir, "dir", "", `directory of a running "holdfast dev"; default: .holdfast here or above (HOLDFAST_DIR)`)
	flags.DurationVar(&s.Timeout, "timeout", 30*time.Second, "bound of one call")
}

// Resolve completes s from the environment and, if neither flags nor
// environment name a broker, from the files of dev mode. A mixture is never
// made: a production address with dev mode's certificates helps nobody. What the
// flags name goes before what the environment names, a directory of dev mode too.
func (s *Settings) Resolve() error {
	byFlag := s.named()
	if s.Dir != "" {
		if byFlag {
			return errors.New("--dir has the address and the certificate of a `holdfast dev`; give it without --addr, --ca, --cert, --key and --token-file, or those without --dir")
		}
		return s.FromDev()
	}
	for _, v := range []struct {
		field *string
		name  string
	}{
		{&s.Addr, "HOLDFAST_ADDR"}, {&s.CA, "HOLDFAST_CA"}, {&s.Cert, "HOLDFAST_CERT"}, {&s.Key, "HOLDFAST_KEY"},
		{&s.TokenFile, "HOLDFAST_TOKEN_FILE"}, {&s.ServerName, "HOLDFAST_SERVER_NAME"}, {&s.Dir, "HOLDFAST_DIR"},
	} {
		if *v.field == "" {
			*v.field = os.Getenv(v.name)
		}
	}
	if !s.named() {
		return s.FromDev()
	}
	if !byFlag {
		s.Instead = s.another()
	}
	return s.complete()
}

// named reports whether a broker is named, be it in part.
func (s *Settings) named() bool { return s.Addr+s.CA+s.Cert+s.Key+s.TokenFile != "" }

// another is the directory of dev mode that would be used if s named no broker, unless it
// leads to the same one.
func (s *Settings) another() string {
	dev := Settings{Dir: s.Dir}
	if dev.FromDev() != nil || dev.Addr == s.Addr {
		return ""
	}
	return filepath.Dir(dev.CA)
}

// complete reports what is missing, or too much.
func (s *Settings) complete() error {
	if s.TokenFile != "" && s.Cert+s.Key != "" {
		return errors.New("--token-file and --cert with --key are two identities, and the broker refuses a call with both; give one of them (a flag, or the environment)")
	}
	needed := []struct{ value, name string }{{s.Addr, "--addr"}, {s.Cert, "--cert"}, {s.Key, "--key"}}
	if s.TokenFile != "" {
		needed = needed[:1]
	}
	var missing []string
	for _, v := range needed {
		if v.value == "" {
			missing = append(missing, v.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("which broker? Missing: %s; give --addr and an identity (--cert with --key, or --token-file), and --ca; or none of them while `holdfast dev` runs", strings.Join(missing, ", "))
	}
	return nil
}

// FromDev reads what dev mode wrote. Paths in that file count from its directory.
func (s *Settings) FromDev() error {
	dir := s.Dir
	if dir == "" {
		found, err := findUp(DevDir, DevFile)
		if err != nil {
			return err
		}
		dir = found
	}
	text, err := os.ReadFile(filepath.Join(dir, DevFile))
	if err != nil {
		return fmt.Errorf("reading what `holdfast dev` wrote: %w; is this its directory?", err)
	}
	var dev Settings
	if err := json.Unmarshal(text, &dev); err != nil {
		return fmt.Errorf("%s: %w; delete the file and start `holdfast dev` again", filepath.Join(dir, DevFile), err)
	}
	s.Addr = dev.Addr
	if s.ServerName == "" {
		s.ServerName = dev.ServerName
	}
	s.CA, s.Cert, s.Key = filepath.Join(dir, dev.CA), filepath.Join(dir, dev.Cert), filepath.Join(dir, dev.Key)
	return nil
}

// WriteDev leaves the file of dev mode in dir. CA, Cert and Key are file names in dir.
func (s Settings) WriteDev(dir string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", DevFile, err)
	}
	return os.WriteFile(filepath.Join(dir, DevFile), append(text, '\n'), 0o600)
}

// findUp returns the nearest directory called name, here or above, that holds file.
func findUp(name, file string) (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for %s: %w", name, err)
	}
	for {
		dir := filepath.Join(at, name)
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return dir, nil
		}
		up := filepath.Dir(at)
		if up == at {
			return "", errors.New("which broker? Give --addr, --ca, --cert and --key (or HOLDFAST_ADDR and so on), or start `holdfast dev` in this directory")
		}
		at = up
	}
}
