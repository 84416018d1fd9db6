package atlassiansim

import (
	"slices"
	"time"
)

// With Config.KeepExchanges the simulator forgets what can no longer change an
// answer. Each list is trimmed when it has doubled since the last time, so that
// the work is constant per request.

// record writes an exchange into the ledger, of fam or (nil) among the strays.
func (s *Sim) record(fam *family, e Exchange) {
	s.st.Counts.note(e)
	if fam == nil {
		s.st.Strays = s.trimmed(append(s.st.Strays, e), &s.st.straysTrim)
		return
	}
	fam.Counts.note(e)
	fam.Exchanges = s.trimmed(append(fam.Exchanges, e), &fam.exchangesTrim)
}

// undelivered records that the client was gone before the answer, unless the
// exchange is forgotten already.
func (s *Sim) undelivered(o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.st.Strays
	if o.fam != nil {
		list = o.fam.Exchanges
	}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Request == o.request {
			list[i].Delivered = false
			break
		}
	}
	if o.refresh != nil {
		o.refresh.Delivered = false
	}
}

// trimmed shortens a list of exchanges to those to keep if its time has come.
func (s *Sim) trimmed(list []Exchange, at *int) []Exchange {
	if s.cfg.KeepExchanges == 0 || len(list) < *at {
		return list
	}
	list = newest(list, s.cfg.KeepExchanges)
	*at = 2 * (len(list) + 1)
	return list
}

// newest keeps the n newest exchanges (0: all) and all that the predicates of
// Ledger ask for. It changes list.
func newest(list []Exchange, n int) []Exchange {
	if n == 0 {
		return list
	}
	old, i := len(list)-n, -1
	return slices.DeleteFunc(list, func(e Exchange) bool {
		i++
		return i < old && e.Reuse != ReuseAfterLeeway && !e.Superseded
	})
}

// forget drops the family's tokens that are refused whatever comes: expired
// access tokens, and refresh tokens whose leeway is over. They are still
// recognized, by their mark.
func (s *Sim) forget(f *family, now time.Time) {
	if s.cfg.KeepExchanges == 0 {
		return
	}
	if len(f.Access) >= f.accessTrim {
		f.Access = slices.DeleteFunc(f.Access, func(t *accessToken) bool {
			if now.Before(t.ExpiresAt) {
				return false
			}
			delete(s.st.access, t.Hash)
			return true
		})
		f.accessTrim = 2 * (len(f.Access) + 1)
	}
	if len(f.Refresh) >= f.refreshTrim {
		leeway := seconds(s.behaviour.LeewaySeconds)
		f.Refresh = slices.DeleteFunc(f.Refresh, func(t *refreshToken) bool {
			if t.SpentAt.IsZero() || !t.superseded || now.Sub(t.SpentAt) < leeway {
				return false
			}
			delete(s.st.refresh, t.Hash)
			return true
		})
		f.refreshTrim = 2 * (len(f.Refresh) + 1)
	}
}

// forgetService drops the families of the client credentials grant, one for
// each request, whose only token has expired.
func (s *Sim) forgetService(now time.Time) {
	if s.cfg.KeepExchanges == 0 || len(s.st.Families) < s.st.familiesTrim {
		return
	}
	s.st.Families = slices.DeleteFunc(s.st.Families, func(f *family) bool {
		if f.GrantType != "client_credentials" || slices.ContainsFunc(f.Access, func(t *accessToken) bool { return now.Before(t.ExpiresAt) }) {
			return false
		}
		delete(s.st.families, f.ID)
		for _, t := range f.Access {
			delete(s.st.access, t.Hash)
		}
		return true
	})
	s.st.familiesTrim = 2 * (len(s.st.Families) + 1)
}

// forgetCodes drops codes that are used or late.
func (s *Sim) forgetCodes(now time.Time) {
	if s.cfg.KeepExchanges == 0 || len(s.st.Codes) < s.st.codesTrim {
		return
	}
	s.st.Codes = slices.DeleteFunc(s.st.Codes, func(c *code) bool {
		if !c.Used && now.Before(c.ExpiresAt) {
			return false
		}
		delete(s.st.codes, c.Hash)
		return true
	})
	s.st.codesTrim = 2 * (len(s.st.Codes) + 1)
}
