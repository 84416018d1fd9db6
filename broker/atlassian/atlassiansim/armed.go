package atlassiansim

import (
	"fmt"
	"slices"
	"strconv"
)

// armedFault is a fault that waits for its requests.
type armedFault struct {
	Fault
	seen int
}

// target is what a request is about, as far as the simulator can tell.
type target struct {
	endpoint, grantType, client, account, family, token string
}

// AddFault arms a fault, after those that are armed already, and returns its id.
func (s *Sim) AddFault(f Fault) (id string, err error) {
	if err := f.validate(); err != nil {
		return "", fmt.Errorf("fault: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arm(f), nil
}

func (s *Sim) arm(f Fault) string {
	s.faultsNum++
	f.ID, f.Fired = "fault-"+strconv.Itoa(s.faultsNum), 0
	s.faults = append(s.faults, &armedFault{Fault: f})
	return f.ID
}

// Faults returns the armed faults in their order.
func (s *Sim) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Fault, 0, len(s.faults))
	for _, f := range s.faults {
		list = append(list, f.Fault)
	}
	return list
}

// RemoveFault disarms one fault and reports whether it was armed.
func (s *Sim) RemoveFault(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.faults)
	s.faults = slices.DeleteFunc(s.faults, func(f *armedFault) bool { return f.ID == id })
	return len(s.faults) < n
}

// ClearFaults disarms all faults.
func (s *Sim) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// pick returns the fault that hits a request, or nil. The caller holds the mutex.
func (s *Sim) pick(t target) *Fault {
	for i, f := range s.faults {
		if !f.matches(t) {
			continue
		}
		f.seen++
		if f.seen <= f.Skip || f.Percent > 0 && s.rng.IntN(100) >= f.Percent {
			continue
		}
		f.Fired++
		if f.Fired == f.Count {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		hit := f.Fault
		return &hit
	}
	return nil
}

func (f *armedFault) matches(t target) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return f.endpoint() == t.endpoint && is(f.GrantType, t.grantType) && is(f.ClientID, t.client) &&
		is(f.AccountID, t.account) && is(f.Family, t.family) && is(f.Token, t.token)
}
