package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// benchCase is one load: callers in a closed loop over shared connections.
type benchCase struct {
	name           string
	callers, conns int
	// durable: the product syncs its audit record before it answers.
	durable bool
}

var caseName = regexp.MustCompile(`^mtls-c([0-9]{1,5})-k([0-9]{1,4})(-durable)?$`)

func defaultCases() []string {
	var names []string
	for _, callers := range []int{1, 8, 64, 256} {
		for _, conns := range []int{1, 4} {
			names = append(names, fmt.Sprintf("mtls-c%d-k%d", callers, conns))
		}
	}
	return append(names, "mtls-c64-k4-durable")
}

func parseCases(list string) ([]benchCase, error) {
	var out []benchCase
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		m := caseName.FindStringSubmatch(name)
		if m == nil {
			return nil, fmt.Errorf("case %q: want mtls-cCALLERS-kCONNECTIONS, and -durable perhaps, e.g. mtls-c64-k4", name)
		}
		c := benchCase{name: name, durable: m[3] != ""}
		c.callers, _ = strconv.Atoi(m[1]) // digits, by the pattern
		c.conns, _ = strconv.Atoi(m[2])
		if c.callers == 0 || c.conns == 0 {
			return nil, fmt.Errorf("case %q: callers and connections must be at least 1", name)
		}
		out = append(out, c)
	}
	return out, nil
}
