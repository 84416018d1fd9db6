package conformance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// scenario is one situation, from a file of its own. FORMAT.md says the same to people.
type scenario struct {
	name string // of the file, without its ending

	// About says what has to happen, in a sentence for people.
	About string `yaml:"about"`
	// Dev holds the lives of the simulated provider's tokens; 0: Atlassian's.
	Dev struct {
		AccessTTL   time.Duration `yaml:"access_ttl"`
		AccessGrace time.Duration `yaml:"access_grace"`
	} `yaml:"dev"`
	// Runner is "own" for a scenario that must be alone in its process.
	Runner string `yaml:"runner"`
	// Skew of the wall clock that the SDK sees from the beginning.
	Skew time.Duration `yaml:"skew"`

	Client struct {
		// As is whose certificate the client shows: dev (if empty), stranger or forged.
		As string `yaml:"as"`
		// Lives is how long the certificate of dev lives that the source begins with; 0: for all of the scenario.
		Lives time.Duration `yaml:"lives"`
		// Trusts is the CA that the client believes: dev (if empty) or other.
		Trusts  string        `yaml:"trusts"`
		Timeout time.Duration `yaml:"timeout"`
	} `yaml:"client"`
	Source struct {
		Grant   string   `yaml:"grant"` // seedGrant if empty
		Site    string   `yaml:"site"`
		Scopes  []string `yaml:"scopes"`
		Purpose string   `yaml:"purpose"`
		// MinTTL is how long a token must live when the broker hands it out.
		MinTTL time.Duration `yaml:"min_ttl"`
		Watch  bool          `yaml:"watch"`
	} `yaml:"source"`

	Steps []step `yaml:"steps"`
}

// step is one thing that happens; exactly one field is set.
type step struct {
	// What time does. At and everything that is "to" a time count from the moment
	// the scenario's token was made.
	At   *time.Duration `yaml:"at"`
	Wait *time.Duration `yaml:"wait"`

	// What the application does.
	Token       *tokenStep     `yaml:"token"`
	Throughout  *repeatedStep  `yaml:"throughout"`
	Eventually  *repeatedStep  `yaml:"eventually"`
	HTTP        *httpStep      `yaml:"http"`
	Meanwhile   *meanwhileStep `yaml:"meanwhile"`
	Finish      *string        `yaml:"finish"`
	Close       *closeStep     `yaml:"close"`
	Skew        *time.Duration `yaml:"skew"`
	Certificate *string        `yaml:"certificate"`
	Authority   *string        `yaml:"authority"`

	// What happens to it.
	Network  *networkStep  `yaml:"network"`
	Broker   *string       `yaml:"broker"`
	Operator *string       `yaml:"operator"`
	Person   *string       `yaml:"person"`
	Provider *providerStep `yaml:"provider"`
	API      *apiStep      `yaml:"api"`
	Other    *apiStep      `yaml:"other"`

	// What there is to see at the others.
	Asked     map[string]span `yaml:"asked"`
	Exchanged *span           `yaml:"exchanged"`
	Arrived   map[string]seen `yaml:"arrived"`
	Connected *span           `yaml:"connected"`
}

type tokenStep struct {
	Count    int           `yaml:"count"`
	Deadline time.Duration `yaml:"deadline"`
	// Error is the reason to fail with; empty: a token, which must be alive.
	Error string `yaml:"error"`
	// Of an error: what must be in it.
	Code       string   `yaml:"code"`
	Why        string   `yaml:"why"`
	Link       bool     `yaml:"link"`
	Sites      string   `yaml:"sites"`
	Missing    []string `yaml:"missing"`
	RetryAfter bool     `yaml:"retry_after"`
	RequestID  bool     `yaml:"request_id"`
	// Of a token. Renewals counts the generations since the scenario's token was made.
	Renewals *span `yaml:"renewals"`
	Distinct *span `yaml:"distinct"`
	APIBase  bool  `yaml:"api_base"`
	// How long the call may take, and must.
	Within  time.Duration `yaml:"within"`
	AtLeast time.Duration `yaml:"at_least"`
}

type repeatedStep struct {
	// To a time of the scenario, or For so long from now.
	To  time.Duration `yaml:"to"`
	For time.Duration `yaml:"for"`
	// Every so often; 400 ms if 0.
	Every time.Duration `yaml:"every"`
	Token tokenStep     `yaml:"token"`
}

type httpStep struct {
	Method string `yaml:"method"` // GET if empty
	// URL: "api:/path" and "other:/path" are servers of the suite; else as it stands.
	URL      string        `yaml:"url"`
	Body     string        `yaml:"body"`
	Once     bool          `yaml:"once"`
	Origins  []string      `yaml:"origins"` // "api", "other"
	Deadline time.Duration `yaml:"deadline"`
	Count    int           `yaml:"count"` // so many at once; 1 if 0
	Status   int           `yaml:"status"`
	Contains string        `yaml:"contains"`
	Error    string        `yaml:"error"`
}

// meanwhileStep goes on while the next steps are taken, until the step finish of its name.
type meanwhileStep struct {
	Name       string        `yaml:"name"`
	Token      *tokenStep    `yaml:"token"`
	Throughout *repeatedStep `yaml:"throughout"`
}

type closeStep struct {
	Within time.Duration `yaml:"within"`
}

type networkStep struct {
	// State is open, gone (refused, and what there was is cut), silent (nothing passes
	// any more) or dead (nothing passes on what is connected; what comes now is open).
	State string `yaml:"state"`
	// Delay of everything that passes, each way.
	Delay time.Duration `yaml:"delay"`
	// Cut ends all connections once.
	Cut bool `yaml:"cut"`
}

type providerStep struct {
	Path string         `yaml:"path"`
	Body map[string]any `yaml:"body"`
	// Method is POST if empty.
	Method string `yaml:"method"`
}

type apiStep struct {
	// Answers are the statuses, in turn; the last one repeats.
	Answers []int `yaml:"answers"`
	// Rejects the token that comes first with a 401, and no other.
	Rejects bool `yaml:"rejects"`
	// Redirects say where a 302 leads from a path: "other:/path".
	Redirects map[string]string `yaml:"redirects"`
}

// seen is what one of the suite's servers got.
type seen struct {
	Requests *span `yaml:"requests"`
	Tokens   *span `yaml:"tokens"` // different ones
	Bare     *span `yaml:"bare"`   // requests without a token
	Bodies   *span `yaml:"bodies"` // requests with a body
}

// span is a range of numbers: "3", "1..2" or "1..".
type span struct{ least, most int }

// UnmarshalYAML implements yaml.BytesUnmarshaler.
func (s *span) UnmarshalYAML(text []byte) error {
	low, high, ranged := strings.Cut(strings.Trim(strings.TrimSpace(string(text)), `"'`), "..")
	var err error
	if s.least, err = strconv.Atoi(low); err != nil {
		return fmt.Errorf("span %q: want a number such as 3, or a range such as 1..2 or 3.. without an end", text)
	}
	switch {
	case !ranged:
		s.most = s.least
	case high == "":
		s.most = 1 << 30
	default:
		s.most, err = strconv.Atoi(high)
	}
	return err
}

func (s *span) has(n int) bool { return s == nil || n >= s.least && n <= s.most }

func (s *span) String() string {
	switch {
	case s.least == s.most:
		return strconv.Itoa(s.least)
	case s.most == 1<<30:
		return fmt.Sprintf("%d or more", s.least)
	}
	return fmt.Sprintf("%d to %d", s.least, s.most)
}

// kinds returns the names of the fields that are set.
func (s *step) kinds() (set []string) {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"at", s.At != nil}, {"wait", s.Wait != nil}, {"token", s.Token != nil}, {"throughout", s.Throughout != nil},
		{"eventually", s.Eventually != nil}, {"http", s.HTTP != nil}, {"meanwhile", s.Meanwhile != nil}, {"finish", s.Finish != nil},
		{"close", s.Close != nil}, {"skew", s.Skew != nil}, {"certificate", s.Certificate != nil}, {"authority", s.Authority != nil},
		{"network", s.Network != nil},
		{"broker", s.Broker != nil}, {"operator", s.Operator != nil}, {"person", s.Person != nil}, {"provider", s.Provider != nil},
		{"api", s.API != nil}, {"other", s.Other != nil}, {"asked", s.Asked != nil}, {"exchanged", s.Exchanged != nil}, {"arrived", s.Arrived != nil}, {"connected", s.Connected != nil},
	} {
		if f.set {
			set = append(set, f.name)
		}
	}
	return set
}

// scenarios reads all files; a mistake in one is a mistake in all.
func scenarios(t *testing.T) []*scenario {
	t.Helper()
	files, err := filepath.Glob("scenarios/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenario found below scenarios/: %v", err)
	}
	var all []*scenario
	for _, file := range files {
		s, err := readScenario(file)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, s)
	}
	return all
}

func readScenario(file string) (*scenario, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := &scenario{name: strings.TrimSuffix(filepath.Base(file), ".yaml")}
	if err := yaml.UnmarshalWithOptions(text, s, yaml.Strict()); err != nil {
		return nil, err
	}
	if s.About == "" || len(s.Steps) == 0 {
		return nil, errors.New("about and steps are needed")
	}
	if s.Runner != "" && s.Runner != "own" {
		return nil, fmt.Errorf("runner %q: want own, or nothing", s.Runner)
	}
	for i := range s.Steps {
		if set := s.Steps[i].kinds(); len(set) != 1 {
			return nil, fmt.Errorf("step %d: want one kind of step, got %q", i+1, set)
		}
	}
	return s, nil
}
