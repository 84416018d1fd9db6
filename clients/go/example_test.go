package holdfast_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"golang.org/x/oauth2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
)

// startJira starts an API that greets whoever comes with the right token, and
// a broker that has that token.
func startJira() (brokerAddr string, stop func()) {
	jira := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token-1" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "hello from %s", r.URL.Path)
	}))
	addr, stopBroker := holdfast.StartBroker(jira.URL + "/ex/jira/cloud-1")
	return addr, func() { stopBroker(); jira.Close() }
}

// The transport sends requests under the site's API base URL, which the broker
// knows, with a token that it keeps fresh.
func ExampleTransport() {
	brokerAddr, stop := startJira()
	defer stop()

	// In production: WithTLSFiles("caller.crt", "caller.key", "ca.crt").
	client, err := holdfast.Dial(brokerAddr, holdfast.WithPlaintext())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	source := client.TokenSource(context.Background(), "acme/automation/jira", holdfast.Purpose("example"))
	jira := &http.Client{Transport: &holdfast.Transport{Source: source, Relative: true}}
	resp, err := jira.Get("/rest/api/3/myself")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body), err)
	jira.CloseIdleConnections()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	// Output: 200 OK hello from /ex/jira/cloud-1/rest/api/3/myself <nil>
}

// Any library that takes an oauth2.TokenSource takes this one.
func ExampleClient_TokenSource() {
	brokerAddr, stop := startJira()
	defer stop()
	client, err := holdfast.Dial(brokerAddr, holdfast.WithPlaintext())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	var source oauth2.TokenSource = client.TokenSource(context.Background(), "acme/automation/jira")
	token, err := source.Token()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.TokenType, token.Valid())
	// Output: Bearer true
}

// A refusal says what to do about it.
func ExampleError() {
	var err error = &holdfast.Error{
		Reason: holdfast.ConsentRequired, Message: "the provider ended the family; a person must consent again",
		Why: "REFUSED", Link: "https://holdfast.example.com/connect/abc",
	}
	var refused *holdfast.Error
	if errors.As(err, &refused) {
		switch {
		case refused.Reason == holdfast.ConsentRequired:
			fmt.Println("please open", refused.Link)
		case refused.Temporary():
			fmt.Println("trying again in", refused.RetryAfter)
		}
	}
	// Output: please open https://holdfast.example.com/connect/abc
}

// A source that watches has newer tokens, and the end of the grant, as they come.
func ExampleWatch() {
	brokerAddr, stop := startJira()
	defer stop()
	client, err := holdfast.Dial(brokerAddr, holdfast.WithPlaintext())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close() // ends the stream

	source := client.TokenSource(context.Background(), "acme/automation/jira", holdfast.Watch())
	token, err := source.Token()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.Valid())
	// Output: true
}

// The token goes with each call of a gRPC connection of your own.
func ExampleTokenSource_PerRPCCredentials() {
	client, err := holdfast.Dial("holdfast.internal:7443", holdfast.WithTLSFiles("caller.crt", "caller.key", "ca.crt"))
	if err != nil {
		fmt.Println("no identity")
		return
	}
	defer client.Close()
	source := client.TokenSource(context.Background(), "acme/automation/jira")
	conn, err := grpc.NewClient("gateway.internal:443",
		grpc.WithTransportCredentials(credentials.NewTLS(nil)), grpc.WithPerRPCCredentials(source.PerRPCCredentials()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	// Output: no identity
}
