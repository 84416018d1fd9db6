package atlassiansim

// Counts of exchanges, by what came of them. They stay exact when
// Config.KeepExchanges lets the ledger forget the exchanges themselves.
type Counts struct {
	// Exchanges is the number of token requests; by outcome they are Rotated,
	// Kept, Refused, Errors and Untouched.
	Exchanges int `json:"exchanges"`
	Rotated   int `json:"rotated"`
	Kept      int `json:"kept"`
	Refused   int `json:"refused"`
	Errors    int `json:"errors"`
	Untouched int `json:"untouched"`
	// ReusesInside and LateReuses are the requests with a token spent before,
	// inside its leeway and after it.
	ReusesInside int `json:"reuses_inside_leeway"`
	LateReuses   int `json:"late_reuses"`
	// OldReuses are those of both with a token older than the previous one.
	OldReuses int `json:"old_reuses"`
}

// note counts one exchange.
func (c *Counts) note(e Exchange) {
	c.Exchanges++
	switch e.Outcome {
	case OutcomeRotated:
		c.Rotated++
	case OutcomeKept:
		c.Kept++
	case OutcomeRefused:
		c.Refused++
	case OutcomeError:
		c.Errors++
	case OutcomeUntouched:
		c.Untouched++
	}
	switch e.Reuse {
	case ReuseInsideLeeway:
		c.ReusesInside++
	case ReuseAfterLeeway:
		c.LateReuses++
	}
	if e.Superseded {
		c.OldReuses++
	}
}

func (c *Counts) add(o Counts) {
	c.Exchanges += o.Exchanges
	c.Rotated += o.Rotated
	c.Kept += o.Kept
	c.Refused += o.Refused
	c.Errors += o.Errors
	c.Untouched += o.Untouched
	c.ReusesInside += o.ReusesInside
	c.LateReuses += o.LateReuses
	c.OldReuses += o.OldReuses
}

func count(list []Exchange) (c Counts) {
	for _, e := range list {
		c.note(e)
	}
	return c
}
