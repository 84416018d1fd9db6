package unreached

import "testing"

func TestWordsForWhatIsKnown(t *testing.T) {
	shows := Way{Target: "broker:1", Cert: "me.crt", CA: "ca.crt", Advice: Advice{
		NoTLS: "; A", DemandsTLS: "B", Certificate: "C", CA: "D", Name: "E",
	}}
	none := Way{Target: "broker:1", Advice: shows.Advice}
	named := shows
	named.Name = "the name in --server-name, b"
	plain := none
	plain.Plaintext = true
	const refused = "remote error: tls: unknown certificate authority"
	for _, c := range []struct {
		way       Way
		raw, want string
	}{
		{shows, "something new", ""},
		{shows, "tls: first record does not look like a TLS handshake", "what answers at broker:1 does not speak TLS: check that it is the broker's gRPC port; A"},
		{shows, "x509: certificate signed by unknown authority", "the broker's certificate was not issued by the CA in ca.crt: D"},
		{none, "x509: certificate signed by unknown authority", "the broker's certificate was not issued by a CA of the system: D"},
		{shows, "x509: certificate is valid for a, not broker", "the broker's certificate is not for the host of broker:1: E, or have it issued for this one"},
		{named, "x509: certificate is valid for a, not b", "the broker's certificate is not for the name in --server-name, b: E, or have it issued for this one"},
		{shows, refused, "the broker at broker:1 refused the certificate in me.crt: have it issued, or renewed, by a CA that the broker believes"},
		{none, refused, "the broker at broker:1 demands a client certificate: C, or have an operator let it accept tokens"},
		{plain, "error reading server preface: EOF", "broker:1 ended the connection: try later; if it never worked, it demands TLS: B"},
		{shows, "error reading server preface: EOF", "broker:1 ended the connection: try later; if it never worked, check that it is the broker's gRPC port"},
		{shows, "dns: A record lookup error: dial udp 127.0.0.53:53: connect: connection refused", "the host of broker:1 cannot be found: check its name, and this machine's DNS"},
		{shows, "dial tcp 127.0.0.1:1: connect: connection refused", "nothing listens at broker:1: check host and port, and whether the broker runs"},
	} {
		want := c.raw
		if c.want != "" {
			want = c.want + " (gRPC: " + c.raw + ")"
		}
		if got := c.way.Explain(c.raw); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
