// Command conformance drives the Go client as the conformance suite tells it to:
// a JSON request a line on standard input, a JSON answer a line on standard
// output; see clients/conformance/PROTOCOL.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// maxLine bounds one request in bytes.
const maxLine = 1 << 20

func main() {
	r := newRunner()
	answers := json.NewEncoder(os.Stdout)
	var mu sync.Mutex // guards answers
	var running sync.WaitGroup
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var q request
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			fmt.Fprintln(os.Stderr, "conformance: this line is no request:", err)
			os.Exit(1)
		}
		running.Go(func() {
			a := r.do(&q)
			a.ID = q.ID
			mu.Lock()
			defer mu.Unlock()
			_ = answers.Encode(a) // fails if the suite is gone, which ends the input too
		})
	}
	r.closeAll()
	running.Wait()
}
