package atlassiansim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// controlRoutes adds the control API. Its bodies are JSON; unknown fields are
// errors, and errors are {"error": "..."}.
func (s *Sim) controlRoutes(mux *http.ServeMux) {
	get := func(path string, answer func() any) {
		mux.HandleFunc("GET /_sim/"+path, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, answer()) })
	}
	get("clock", s.clockInfo)
	get("ledger", func() any { return s.Ledger() })
	get("counts", func() any { return s.Counts() })
	mux.HandleFunc("GET /_sim/families/{family}", control(s.controlFamily))
	get("faults", func() any { return s.Faults() })
	get("behaviour", func() any { return s.Behaviour() })
	get("apps", s.appInfos)
	get("accounts", func() any { return s.cfg.Accounts })
	get("sites", func() any { return s.cfg.Sites })

	mux.HandleFunc("POST /_sim/clock/advance", control(s.controlAdvance))
	mux.HandleFunc("POST /_sim/clock/set", control(s.controlSet))
	mux.HandleFunc("POST /_sim/faults", control(s.controlAddFault))
	mux.HandleFunc("DELETE /_sim/faults", control(s.controlClearFaults))
	mux.HandleFunc("DELETE /_sim/faults/{id}", control(s.controlRemoveFault))
	mux.HandleFunc("PATCH /_sim/behaviour", control(s.controlBehaviour))
	mux.HandleFunc("PUT /_sim/apps/{client}/secrets", control(s.controlSecrets))
	s.peopleRoutes(mux)
}

// control turns a function into a handler. An error is the caller's mistake.
func control(do func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		v, err := do(r)
		switch {
		case errors.Is(err, errNotFound):
			writeJSON(w, http.StatusNotFound, map[string]string{"error": err.Error()})
		case err != nil:
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		default:
			writeJSON(w, http.StatusOK, v)
		}
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // fails if the client is gone
}

func readJSON(r *http.Request, v any) error { return decode(r.Body, v) }

func decode(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("reading the JSON body: %w", err)
	}
	return nil
}

func (s *Sim) clockInfo() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[string]any{"now": s.now(), "offset_seconds": s.st.Offset.Seconds()}
}

func (s *Sim) controlAdvance(r *http.Request) (any, error) {
	var in struct {
		By string `json:"by"`
	}
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(in.By)
	if err != nil {
		return nil, fmt.Errorf("by %q: want a duration such as 11m or 2160h", in.By)
	}
	if err := s.Advance(d); err != nil {
		return nil, err
	}
	return s.clockInfo(), nil
}

func (s *Sim) controlSet(r *http.Request) (any, error) {
	var in struct {
		Now time.Time `json:"now"`
	}
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if in.Now.IsZero() {
		return nil, errors.New("now: want a time such as 2027-01-31T12:00:00Z")
	}
	if err := s.SetNow(in.Now); err != nil {
		return nil, err
	}
	return s.clockInfo(), nil
}

func (s *Sim) controlAddFault(r *http.Request) (any, error) {
	var f Fault
	if err := readJSON(r, &f); err != nil {
		return nil, err
	}
	id, err := s.AddFault(f)
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": id}, nil
}

func (s *Sim) controlClearFaults(*http.Request) (any, error) {
	s.ClearFaults()
	return s.Faults(), nil
}

func (s *Sim) controlRemoveFault(r *http.Request) (any, error) {
	if id := r.PathValue("id"); !s.RemoveFault(id) {
		return nil, fmt.Errorf("fault %q: %w", id, errNotFound)
	}
	return s.Faults(), nil
}

// controlBehaviour changes the switches that the body names.
func (s *Sim) controlBehaviour(r *http.Request) (any, error) {
	var raw json.RawMessage
	if err := readJSON(r, &raw); err != nil {
		return nil, err
	}
	if err := s.setBehaviour(func(b *Behaviour) error { return decode(bytes.NewReader(raw), b) }); err != nil {
		return nil, err
	}
	return s.Behaviour(), nil
}

func (s *Sim) controlFamily(r *http.Request) (any, error) {
	id := r.PathValue("family")
	e, ok := s.Family(id)
	if !ok {
		return nil, fmt.Errorf("family %q: %w", id, errNotFound)
	}
	return e, nil
}

func (s *Sim) appInfos() any {
	type info struct {
		ClientID       string   `json:"client_id"`
		Name           string   `json:"name"`
		CallbackURL    string   `json:"callback_url"`
		Scopes         []string `json:"scopes"`
		Level          Level    `json:"level"`
		ServiceAccount string   `json:"service_account,omitempty"`
		Secrets        int      `json:"secrets"`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []info{}
	for _, a := range s.cfg.Apps {
		list = append(list, info{a.ClientID, a.Name, a.CallbackURL, a.Scopes, a.Level, a.ServiceAccount, len(a.Secrets)})
	}
	return list
}

func (s *Sim) controlSecrets(r *http.Request) (any, error) {
	var in struct {
		Secrets []string `json:"secrets"`
	}
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	var secrets []secret.String
	for _, text := range in.Secrets {
		secrets = append(secrets, secret.New(text))
	}
	if err := s.SetSecrets(r.PathValue("client"), secrets...); err != nil {
		return nil, err
	}
	return s.appInfos(), nil
}
