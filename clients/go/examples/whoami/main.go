// Command whoami asks Jira who the owner of a grant is. It is the smallest
// whole program that uses the client. While `go run ./cmd/holdfast dev` runs,
// this works from the same directory as it stands:
//
//	go run ./clients/go/examples/whoami
//
// For another broker, name its address and the files of your identity:
//
//	go run ./clients/go/examples/whoami -addr holdfast.internal:7443 \
//		-cert caller.crt -key caller.key -ca ca.crt -grant acme/automation/jira
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
)

// broker is where the broker is and who we are, as `holdfast dev` writes it.
type broker struct {
	Addr string `json:"addr"`
	Cert string `json:"cert"`
	Key  string `json:"key"`
	CA   string `json:"ca"`
}

func main() {
	var b broker
	flag.StringVar(&b.Addr, "addr", "", "gRPC `address` of the broker; default: that of the running dev mode")
	flag.StringVar(&b.Cert, "cert", "", "this caller's certificate `file`")
	flag.StringVar(&b.Key, "key", "", "its key `file`")
	flag.StringVar(&b.CA, "ca", "", "`file` of the broker's CA")
	dir := flag.String("dir", ".holdfast", "`directory` of dev mode")
	grant := flag.String("grant", "acme/automation/jira", "`address` of the grant")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := b.fromDev(*dir)
	if err == nil {
		err = whoami(ctx, b, *grant)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "whoami:", err)
		os.Exit(1)
	}
}

// fromDev reads dev mode's file unless an address was given.
func (b *broker) fromDev(dir string) error {
	if b.Addr != "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(dir, "client.json"))
	if err != nil {
		return fmt.Errorf("%w; start `go run ./cmd/holdfast dev` first, or give -addr", err)
	}
	if err := json.Unmarshal(text, b); err != nil {
		return fmt.Errorf("reading what dev mode wrote: %w", err)
	}
	b.Cert, b.Key, b.CA = filepath.Join(dir, b.Cert), filepath.Join(dir, b.Key), filepath.Join(dir, b.CA)
	return nil
}

func whoami(ctx context.Context, b broker, grant string) (err error) {
	client, err := holdfast.Dial(b.Addr, holdfast.WithTLSFiles(b.Cert, b.Key, b.CA))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()

	source := client.TokenSource(ctx, grant, holdfast.Purpose("whoami"))
	jira := &http.Client{
		Transport: &holdfast.Transport{Source: source, Relative: true},
		Timeout:   time.Minute,
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "/rest/api/3/myself", nil)
	if err != nil {
		return err
	}
	resp, err := jira.Do(req)
	if refused, ok := errors.AsType[*holdfast.Error](err); ok && refused.Link != "" {
		return fmt.Errorf("%w\nopen %s", refused, refused.Link)
	}
	if err != nil {
		return err
	}
	fmt.Println(resp.Status)
	_, err = io.Copy(os.Stdout, io.LimitReader(resp.Body, 1<<20))
	fmt.Println()
	return errors.Join(err, resp.Body.Close())
}
