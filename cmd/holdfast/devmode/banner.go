package devmode

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
)

// grpcurlModule is pinned so that the command means the same tomorrow.
const grpcurlModule = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4"

var bannerText = template.Must(template.New("banner").Parse(`
  ** FOR DEVELOPMENT ONLY: simulated provider, connect page in plain http on loopback,
  ** keys beside the data in {{.Dir}}. Never put a real client secret in there.

  gRPC (mutual TLS)   {{.GRPC}}
  connect page        {{.PublicURL}}
  metrics, health     http://{{.Metrics}}/metrics  /readyz
  simulated provider  {{.Sim}}

  Grants:
{{- range .Grants}}
    {{.Address}}, {{.Phase}}
{{- if .Gone}}; bring it back by the link of: {{$.Holdfast (print "grants reauth " .Address)}}
{{- else if not .Good}}: the provider refused it, the broker is finding out whether for good
{{- end}}
{{- end}}
{{- if .Link}}
  Make another one, acme/demo/jira, in a browser (the link works for {{.LinkFor}}):

    {{.Link}}
{{- end}}

  Paste into another terminal, in this directory
{{- if .Refused}} (refused as long as {{.Refused}} is not active){{end}}:

  # get an access token
  {{.Holdfast "token get acme/automation/jira"}}

  # the same by grpcurl
  go run {{.Grpcurl}} -cacert {{.File "ca.crt"}} -cert {{.File "client.crt"}} -key {{.File "client.key"}} -d '{"grant":{"address":{"tenant":"acme","subject":"automation","product":"jira"}}}' {{.GRPC}} holdfast.v1.TokenService/GetAccessToken

  # use it on the simulated Jira
  {{.Holdfast "token get acme/automation/jira --format header"}} | curl -sS -H @- {{.Sim}}/ex/jira/{{.CloudID}}/rest/api/3/myself

  Ctrl-C ends it; the next start finds everything again.

`))

// view is what the banner shows.
type view struct {
	Options
	addresses
	seeded
	Grpcurl string
}

// Refused is the grant that the commands name, if it does not serve; otherwise "".
func (v view) Refused() string {
	if len(v.Grants) > 0 && !v.Grants[0].Good {
		return v.Grants[0].Address
	}
	return ""
}

// LinkFor is how long the link works, for people.
func (v view) LinkFor() string {
	return fmt.Sprintf("%.0f minutes", v.LinkUntil.Sub(v.Now()).Minutes())
}

// Holdfast is the command line of a verb that finds this dev mode.
func (v view) Holdfast(verb string) string {
	if filepath.Clean(v.Dir) != client.DevDir {
		verb += " --dir " + quote(v.Dir)
	}
	return v.Self + " " + verb
}

// File is the path of a file of the directory, for a shell.
func (v view) File(name string) string { return quote(filepath.Join(v.Dir, name)) }

// quote makes text one word of a POSIX shell.
func quote(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@:,", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func banner(o Options, a addresses, s seeded) error {
	return bannerText.Execute(o.Out, view{o, a, s, grpcurlModule})
}
