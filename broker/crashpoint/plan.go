package crashpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// plan is a parsed name[:nth].
type plan struct {
	name string
	nth  uint64 // from 1
}

func parse(text string) (plan, error) {
	name, count, counted := strings.Cut(text, ":")
	p := plan{name: name, nth: 1}
	var names []string
	for _, point := range Points() {
		names = append(names, point.Name)
	}
	if !slices.Contains(names, name) {
		return p, fmt.Errorf("there is no point %q; want name[:nth] with one of %s", name, strings.Join(names, ", "))
	}
	if counted {
		n, err := strconv.ParseUint(count, 10, 64)
		if err != nil || n == 0 {
			return p, fmt.Errorf("%q after the point's name: want which pass of it, 1 or more", count)
		}
		p.nth = n
	}
	return p, nil
}
