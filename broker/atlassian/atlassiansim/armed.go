package atlassiansim

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"
)

// armedFault is a fault that waits for its requests.
type armedFault struct {
	Fault
	seen     int
	from, to time.Time // to is zero if there is no end
	perFam   map[string]int
	rate     meter
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
	armed := &armedFault{Fault: f, perFam: map[string]int{}, from: s.now().Add(seconds(f.AfterSeconds))}
	if f.ForSeconds > 0 {
		armed.to = armed.from.Add(seconds(f.ForSeconds))
	}
	s.faults = append(s.faults, armed)
	return f.ID
}

// Faults returns the armed faults in their order.
func (s *Sim) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disarmOver(s.now())
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

// disarmOver drops the faults whose time is over.
func (s *Sim) disarmOver(now time.Time) {
	s.faults = slices.DeleteFunc(s.faults, func(f *armedFault) bool { return !f.to.IsZero() && !now.Before(f.to) })
}

// pick returns the fault that hits a request, or nil. The caller holds the mutex.
func (s *Sim) pick(t target) *Fault {
	now := s.now()
	s.disarmOver(now)
	for i, f := range s.faults {
		if now.Before(f.from) || !f.matches(t) || !f.matchesFamily(s.cfg.Seed, t.family) {
			continue
		}
		f.seen++
		rate := f.rate.note(now)
		if f.seen <= f.Skip || f.PerFamily > 0 && f.perFam[t.family] >= f.PerFamily || !s.chance(f, rate) {
			continue
		}
		f.Fired++
		if f.PerFamily > 0 {
			f.perFam[t.family]++
		}
		if f.Fired == f.Count {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		hit := f.Fault
		return &hit
	}
	return nil
}

// chance decides whether f hits a request that it matches at that rate.
func (s *Sim) chance(f *armedFault, rate int) bool {
	percent := float64(f.Percent)
	if f.Percent == 0 {
		percent = 100
	}
	if f.RateSlope > 0 {
		percent = min(percent, float64(rate-f.RateOver)*f.RateSlope)
	}
	return percent >= 100 || percent > 0 && s.rng.Float64()*100 < percent
}

func (f *armedFault) matches(t target) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return f.endpoint() == t.endpoint && is(f.GrantType, t.grantType) && is(f.ClientID, t.client) &&
		is(f.AccountID, t.account) && is(f.Family, t.family) && is(f.Token, t.token)
}

// matchesFamily reports whether a family is in the fault's share of them.
func (f *armedFault) matchesFamily(seed uint64, family string) bool {
	if f.FamilyPercent == 0 || f.FamilyPercent == 100 {
		return true
	}
	if family == "" {
		return false
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s/%s", seed, f.ID, family)
	x := h.Sum64()
	x = (x ^ x>>33) * 0xff51afd7ed558ccd // FNV alone spreads short names badly
	return (x^x>>33)%100 < uint64(f.FamilyPercent)
}

// meter counts events of the last second in tenths.
type meter struct {
	tenths [10]int
	last   int64 // number of the newest tenth
}

// note adds an event and returns how many there were in the last second.
func (m *meter) note(now time.Time) (sum int) {
	tenth := now.UnixMilli() / 100
	if tenth < m.last || tenth-m.last >= int64(len(m.tenths)) { // the clock was set, or it was quiet
		m.tenths = [10]int{}
	} else {
		for n := m.last + 1; n <= tenth; n++ {
			m.tenths[slot(n)] = 0
		}
	}
	m.last = tenth
	m.tenths[slot(tenth)]++
	for _, n := range m.tenths {
		sum += n
	}
	return sum
}

// slot of a tenth; the clock may have been set to before 1970.
func slot(tenth int64) int64 { return (tenth%10 + 10) % 10 }
