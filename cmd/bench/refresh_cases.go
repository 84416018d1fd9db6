package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// refreshCase is one load: callers in a closed loop, each of which lets one
// expired grant after another be refreshed.
type refreshCase struct {
	name    string
	callers int
	// delay of the provider's answers.
	delay time.Duration
	// limit is the configured concurrency of spends.
	limit int
	// postgres: the broker's store is a database.
	postgres bool
}

// title of the case in the report.
func (c *refreshCase) title() string {
	if c.postgres {
		return "postgres-" + c.name
	}
	return c.name
}

// database of the broker.
func (c *refreshCase) database() string { return fmt.Sprintf("broker_%d", c.limit) }

// sides of the case. What only writes is beside those whose provider answers at
// once: of the others it would say nothing.
func (c *refreshCase) sides() []string {
	out := []string{ofBroker, ofProvider}
	switch {
	case c.postgres && c.delay == 0:
		out = append(out, ofPgbench)
	case !c.postgres && c.callers == 1:
		out = append(out, ofSync, ofParts)
	case !c.postgres && c.delay == 0:
		out = append(out, ofParts)
	}
	return out
}

const (
	refreshCases = "c1,c64,c64-50ms,c256-50ms,c256-50ms-limit16"
	// refreshLimit is the configured concurrency where a case names none: above
	// what any case has of callers.
	refreshLimit = 256
)

var refreshCaseName = regexp.MustCompile(`^c([0-9]{1,3})(?:-([0-9]{1,4})ms)?(?:-limit([0-9]{1,3}))?$`)

func parseRefreshCases(list string) ([]refreshCase, error) {
	var out []refreshCase
	for name := range strings.SplitSeq(list, ",") {
		m := refreshCaseName.FindStringSubmatch(name)
		if m == nil {
			return nil, fmt.Errorf("case %q: want cCALLERS, and -MILLISECONDSms and -limitSPENDS perhaps, e.g. c64-50ms-limit16", name)
		}
		c := refreshCase{name: name, limit: refreshLimit}
		c.callers, _ = strconv.Atoi(m[1]) // digits, by the pattern
		ms, _ := strconv.Atoi(m[2])       // 0 if there are none
		c.delay = time.Duration(ms) * time.Millisecond
		if m[3] != "" {
			c.limit, _ = strconv.Atoi(m[3])
		}
		if c.callers < 1 || c.callers > refreshLimit || c.limit < 2 {
			return nil, fmt.Errorf("case %q: want 1 to %d callers, and a limit of 2 at least", name, refreshLimit)
		}
		out = append(out, c)
	}
	return out, nil
}
