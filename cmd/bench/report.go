package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// report writes the table, and the results to a file as well if one is named.
func report(stdout io.Writer, jsonFile string, results []result) error {
	if jsonFile != "" {
		if err := writeJSONFile(jsonFile, results); err != nil {
			return err
		}
	}
	return writeTable(stdout, results)
}

// writeJSONFile writes one object a line, replacing the file.
func writeJSONFile(path string, results []result) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return writeJSON(f, results)
}

func writeJSON(w io.Writer, results []result) error {
	enc := json.NewEncoder(w)
	for _, r := range results {
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("writing results: %w", err)
		}
	}
	return nil
}

// writeTable writes the results for people.
func writeTable(w io.Writer, results []result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "suite\tcase\tmetric\tvalue\tbase\tratio\tlowest\thighest\tgoal\tunit\t\n")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.3f\t%.3f\t%.3f\t%s\t%s\t\n",
			r.Suite, r.Case, r.Metric, figure(r.Value), figure(r.Base), r.Ratio, r.lowest, r.highest, cmp.Or(r.goal, "-"), r.Unit)
	}
	return t.Flush()
}

// figure shows about four significant digits.
func figure(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3f", v)
}
