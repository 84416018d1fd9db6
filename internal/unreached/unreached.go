// Package unreached owns what is said of a broker that no call reached: in words for whoever
// set the caller up, of what grpc-go and crypto/tls say as text alone. It connects to
// nothing and knows no gRPC; the Go client and the command line share it.
package unreached

import "strings"

// Way is how a caller goes to its broker. It holds names of files and no secret.
type Way struct {
	// Target is where the broker is, as somebody wrote it.
	Target string
	// Name that the broker's certificate is to be for; empty: the host of Target.
	Name string
	// Cert and CA are files; empty: none is shown, and the system's CAs.
	Cert, CA string
	// Plaintext says that the caller speaks no TLS.
	Plaintext bool

	Advice Advice
}

// Advice says how whoever reads the words corrects what is wrong: by an option, or a flag.
type Advice struct {
	// NoTLS ends the sentence about a server that does not speak TLS; may be empty.
	NoTLS string
	// DemandsTLS is how to speak it; only for those who can do without.
	DemandsTLS string
	// Certificate is how to show one.
	Certificate string
	// CA is how to name the file of the CA of the broker's certificate.
	CA string
	// Name is how to connect by another name.
	Name string
}

// hungUp stands in the table for what depends on the way, refusedCertificate too.
const hungUp, refusedCertificate = "{hung up}", "{refused certificate}"

// meanings of what grpc-go and crypto/tls say, in lower case; the first that fits counts. They name
// neither the file that is wrong nor what to do, and grpc-go passes them on as text alone.
var meanings = []struct {
	signs []string
	means string
}{
	{
		[]string{"does not look like a tls handshake"},
		"what answers at {target} does not speak TLS: check that it is the broker's gRPC port{no tls}",
	}, {
		[]string{"signed by unknown authority"},
		"the broker's certificate was not issued by {ca}: {name ca}",
	}, {
		[]string{"certificate has expired or is not yet valid"},
		"the broker's certificate, or its CA's, is not valid now: have it renewed, unless it is this machine's clock that is wrong",
	}, {
		[]string{"certificate is valid for", "cannot validate certificate for", "certificate is not valid for any names", "legacy common name"},
		"the broker's certificate is not for {name}: {name it}, or have it issued for this one",
	}, {
		[]string{"tls: no application protocol", "missing selected alpn", "http/1.1 header", "frame too large", "unexpected http status", "unexpected content-type", "unknown service"},
		"what answers at {target} is no broker: check that it is the broker's gRPC port",
	}, {
		[]string{"tls: protocol version not supported"},
		"what answers at {target} speaks another version of TLS: is it the broker?",
	}, {
		[]string{"remote error: tls: "}, refusedCertificate,
	}, {
		[]string{"produced zero addresses", "record lookup error", "no such host"},
		"the host of {target} cannot be found: check its name, and this machine's DNS",
	}, {
		[]string{"connection refused"},
		"nothing listens at {target}: check host and port, and whether the broker runs",
	}, {
		[]string{"no route to host", "network is unreachable", "timeout", "timed out", "deadline exceeded", "keepalive ping"},
		"the broker at {target} did not answer in time: try later; if it never worked, check the address and the network between",
	}, {
		[]string{"eof", "broken pipe", "connection reset", "error reading from server"}, hungUp,
	},
}

// Explain says what raw, the message of a call that no broker answered, means on this way; what it
// knows no words for it leaves as it is.
func (w Way) Explain(raw string) string {
	text := strings.ToLower(raw)
	for _, m := range meanings {
		for _, sign := range m.signs {
			if strings.Contains(text, sign) {
				return w.words(m.means) + toldBy + raw + ")"
			}
		}
	}
	return raw
}

// toldBy begins what was said by others, after the words for it.
const toldBy = " (gRPC: "

// Explained reports whether message is one that Explain had words for: it says what to do as well.
func Explained(message string) bool { return strings.Contains(message, toldBy) }

func (w Way) words(means string) string {
	switch {
	case means == refusedCertificate && w.Cert == "":
		means = "the broker at {target} demands a client certificate: {show one}, or have an operator let it accept tokens"
	case means == refusedCertificate:
		means = "the broker at {target} refused the certificate in {cert}: have it issued, or renewed, by a CA that the broker believes"
	case means == hungUp && w.Plaintext:
		means = "{target} ended the connection: try later; if it never worked, it demands TLS: {demands tls}"
	case means == hungUp:
		means = "{target} ended the connection: try later; if it never worked, check that it is the broker's gRPC port"
	}
	ca, name := "the CA in "+w.CA, "the host of "+w.Target
	if w.CA == "" {
		ca = "a CA of the system"
	}
	if w.Name != "" {
		name = w.Name
	}
	return strings.NewReplacer("{target}", w.Target, "{cert}", w.Cert, "{ca}", ca, "{name}", name, "{no tls}", w.Advice.NoTLS,
		"{demands tls}", w.Advice.DemandsTLS, "{show one}", w.Advice.Certificate, "{name ca}", w.Advice.CA, "{name it}", w.Advice.Name).Replace(means)
}
