package config

import "github.com/holdfast-io/holdfast/broker"

// Retention says for how many days grants are kept that have ended; then they are
// purged, with their journals. Without it they are kept until somebody purges them.
type Retention struct {
	// LapsedDays counts from when the provider ended the family, 1 to 3650. Default: for ever.
	LapsedDays int `yaml:"lapsed_days"`
	// RevokedDays counts from the revocation, 1 to 3650. Default: for ever.
	RevokedDays int `yaml:"revoked_days"`
}

// Kept is the section as the broker takes it.
func (r *Retention) Kept() broker.Retention {
	return broker.Retention{Lapsed: days(r.LapsedDays), Revoked: days(r.RevokedDays)}
}
