package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/cmd/holdfast/devmode"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/secret"
)

// simApps are the clients of a simulator that is given none. Their secrets are
// no secrets: they open nothing but a simulator.
var simApps = []string{
	"client_id=sim-jira secret=sim-jira-secret scopes=read:me,read:jira-work,read:jira-user,write:jira-work",
	"client_id=sim-confluence secret=sim-confluence-secret scopes=read:me,read:space:confluence,read:page:confluence",
}

const simHelp = `Run the simulated provider: Atlassian's OAuth 2.0 (3LO) with a controllable clock,
a ledger of every exchange and scripted faults, for tests of your own.

Clients are given as --app "client_id=ID secret=SECRET callback=URL scopes=A,B";
without any there are sim-jira (secret sim-jira-secret) and sim-confluence (secret
sim-confluence-secret) with the callback of --callback. The control API is
plain HTTP below /_sim/ (clock, faults, behaviour, ledger, apps, accounts); it
asks nobody for a password, so listen on loopback only. Its calls and their bodies
are described with the package: go doc ./broker/atlassian/atlassiansim

It starts by printing the provider section for the configuration of a broker that
is to use it. Clients that "holdfast serve" uses need its callback URL,
PUBLIC_URL/oauth/callback.`

func newSim(io streams) *cobra.Command {
	var c atlassiansim.Config
	var apps []string
	listen, callback, level := "", "", ""
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run the simulated provider, for tests of your own",
		Long:  simHelp,
		Example: `  holdfast sim --listen 127.0.0.1:0 --auto-consent
  curl -s http://127.0.0.1:7400/_sim/ledger
  curl -s http://127.0.0.1:7400/_sim/clock/advance -d '{"by":"11m"}'
  curl -s http://127.0.0.1:7400/_sim/faults -d '{"kind":"drop_before_answer","grant_type":"refresh_token","count":1}'`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLog(io.err, level, "text")
			if err != nil {
				return err
			}
			if len(apps) == 0 {
				apps = simApps
			}
			if c.Apps, err = parseSimApps(apps, callback); err != nil {
				return err
			}
			sim, err := atlassiansim.New(c)
			if err != nil {
				return usageError{err}
			}
			lis, err := node.Listen(cmd.Context(), "the simulator", "--listen", listen)
			if err != nil {
				return err
			}
			if tcp, ok := lis.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
				log.Warn("the control API is open to whoever reaches this address", "listen", lis.Addr().String())
			}
			if err := announceSim(io, simURL(io, lis.Addr())); err != nil {
				return err
			}
			return atlassiansim.Serve(cmd.Context(), lis, sim, log)
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", fmt.Sprintf("127.0.0.1:%d", devmode.DefaultSimPort), "address to listen on; port 0: any free one")
	f.StringArrayVar(&apps, "app", nil, `a client, "client_id=ID secret=SECRET callback=URL scopes=A,B"; may be repeated`)
	f.StringVar(&callback, "callback", fmt.Sprintf("http://127.0.0.1:%d/oauth/callback", devmode.DefaultHTTPPort), "callback URL of apps that name none")
	f.BoolVar(&c.AutoConsent, "auto-consent", false, "accept every consent without showing a page")
	f.StringVar(&c.StateFile, "state", "", "file that keeps families and tokens over restarts; default: nothing is kept")
	f.Uint64Var(&c.Seed, "seed", 0, "seed of everything that is left to chance")
	f.StringVar(&level, "log-level", "warn", "debug, info, warn or error")
	return cmd
}

// simURL is where the simulator is reached from this machine. An address that
// stands for all of them is none to connect to.
func simURL(io streams, at net.Addr) string {
	tcp, ok := at.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return "http://" + at.String()
	}
	_, _ = fmt.Fprintf(io.err, "it listens on all addresses; the URLs below are those for this machine alone\n") // a note that nobody reads is lost
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
}

// announceSim prints where the simulator is, in the form of a profile's
// overrides, so that it can be pasted into a configuration.
func announceSim(io streams, base string) error {
	_, err := fmt.Fprintf(io.out, `# simulated provider on %[1]s, for tests only
provider:
  profile: atlassian
  overrides:
    name: simulator
    authorize_url: %[1]s/authorize
    token_url: %[1]s/oauth/token
    account_url: %[1]s/me
    resources_url: %[1]s/oauth/token/accessible-resources
    revoke_url: %[1]s/oauth/revoke
    products:
      jira: {scope_words: [jira, servicedesk, cmdb], api_base: "%[1]s/ex/jira/{cloudid}"}
      confluence: {scope_words: [confluence], api_base: "%[1]s/ex/confluence/{cloudid}"}
`, base)
	return err
}

func parseSimApps(texts []string, callback string) ([]atlassiansim.App, error) {
	apps := make([]atlassiansim.App, len(texts))
	for i, text := range texts {
		app := atlassiansim.App{CallbackURL: callback}
		for field := range strings.FieldsSeq(text) {
			key, value, _ := strings.Cut(field, "=")
			switch key {
			case "client_id":
				app.ClientID = value
			case "secret":
				app.Secrets = append(app.Secrets, secret.New(value))
			case "callback":
				app.CallbackURL = value
			case "scopes":
				app.Scopes = slices.Concat(app.Scopes, strings.Split(value, ","))
			default:
				return nil, usagef("--app: unknown key %q; known are client_id, secret, callback and scopes", key)
			}
		}
		apps[i] = app
	}
	return apps, nil
}
