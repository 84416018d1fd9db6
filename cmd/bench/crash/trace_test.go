package crash

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A trace is what strace saw of the system calls of a process, in the order in
// which they began and ended: strace writes a call that was overtaken by
// another thread's as "<unfinished ...>" and "<... resumed>".
type trace []traced

// traced is the beginning or the end of one system call, or both.
type traced struct {
	begins, ends bool
	// name of the call; text is the rest of the line.
	name, text string
	// file that a sync or a pwrite64 is about.
	file string
	line int
}

var (
	wholeCall   = regexp.MustCompile(`^(\d+) +\S+ (\w+)\((.*)$`)
	resumedCall = regexp.MustCompile(`^(\d+) +\S+ <\.\.\. (\w+) resumed>(.*)$`)
	// A call that was overtaken has a space before its parenthesis.
	mapped  = regexp.MustCompile(`\b\d+<([^>]+)>, \S+ ?\) += (0x[0-9a-f]+)$`)
	moved   = regexp.MustCompile(`^(0x[0-9a-f]+), .*\) += (0x[0-9a-f]+)$`)
	address = regexp.MustCompile(`^0x[0-9a-f]+`)
	fileOf  = regexp.MustCompile(`^\d+<([^>]+)>`)
)

// readTrace reads the output of strace -f -yy -ttt. It follows the memory maps
// of files, since an msync names an address only.
func readTrace(t *testing.T, file string) trace {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all trace
	maps, begun := map[string]string{}, map[string]string{} // file by address; call by thread
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		c := traced{line: n}
		var thread string
		if m := resumedCall.FindStringSubmatch(lines.Text()); m != nil {
			thread, c.name, c.text, c.ends = m[1], m[2], begun[m[1]]+m[3], true
		} else if m := wholeCall.FindStringSubmatch(lines.Text()); m != nil {
			thread, c.name, c.text, c.begins = m[1], m[2], m[3], true
			c.ends = !strings.HasSuffix(c.text, "<unfinished ...>")
		} else {
			continue // an exit, a signal
		}
		begun[thread] = strings.TrimSuffix(c.text, "<unfinished ...>")
		switch {
		case c.name == "mmap" && c.ends:
			if m := mapped.FindStringSubmatch(c.text); m != nil {
				maps[m[2]] = filepath.Base(m[1])
			}
		case c.name == "mremap" && c.ends:
			if m := moved.FindStringSubmatch(c.text); m != nil {
				maps[m[2]] = maps[m[1]]
			}
		case c.name == "msync":
			c.file = maps[address.FindString(c.text)]
		case isSync[c.name] || c.name == "pwrite64":
			if m := fileOf.FindStringSubmatch(c.text); m != nil {
				c.file = filepath.Base(m[1])
			}
		}
		all = append(all, c)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// sends reports whether the call begins to write to a TCP connection whose ends
// are written as from and to ("" is any).
func (c traced) sends(from, to string) bool {
	switch c.name {
	case "write", "writev", "sendto", "sendmsg":
	default:
		return false
	}
	_, connection, _ := strings.Cut(c.text, "<TCP:[")
	connection, _, found := strings.Cut(connection, "]>")
	a, b, _ := strings.Cut(connection, "->")
	return c.begins && found && (from == "" || a == from) && (to == "" || b == to)
}

// acknowledged is the file that the store writes to, without a sync, after each
// commit and before anybody is told of it: it marks the commits in a trace.
const acknowledged = "holdfast-commits"

// commits returns, for each commit that was acknowledged between the calls at
// from and to, which of Badger's logs were synced for it: the sync began after the
// commit before was acknowledged and had returned by then. The store's witness is
// synced now and then, too, and is no commit.
func (tr trace) commits(from, to int) []map[string]bool {
	var found []map[string]bool
	begun, synced := map[string]bool{}, map[string]bool{}
	for _, c := range tr[from+1 : to] {
		key := c.name + c.file
		switch {
		case c.file == acknowledged && c.name == "pwrite64" && c.begins:
			found = append(found, synced)
			begun, synced = map[string]bool{}, map[string]bool{}
		case !isSync[c.name]:
		default:
			begun[key] = begun[key] || c.begins
			if log := filepath.Ext(c.file); c.ends && begun[key] && strings.HasSuffix(c.text, "= 0") && slices.Contains(badgerLogs, log) {
				synced[log] = true
			}
		}
	}
	return found
}

var isSync = map[string]bool{"msync": true, "fsync": true, "fdatasync": true, "sync_file_range": true}

// refresh are the places in a trace of one refresh that a caller waited for.
type refresh struct {
	// before is the answer to the caller's previous call, request the first byte to
	// the provider, answer the first byte of the new token to the caller.
	before, request, answer int
}

// tokenSize is the least length of a write that carries a token to a caller;
// what else HTTP/2 sends is far shorter.
const tokenSize = 1000

// lastRefresh finds the last request to the provider and what lies around it.
func (tr trace) lastRefresh(broker, provider string) (refresh, error) {
	r := refresh{-1, -1, -1}
	answered := -1
	for i, c := range tr {
		switch {
		case c.sends("", provider) && strings.Contains(c.text, `"POST /oauth/token `):
			r = refresh{before: answered, request: i, answer: -1}
		case c.sends(broker, "") && carries(c.text, tokenSize):
			answered = i
			if r.answer < 0 && r.request >= 0 {
				r.answer = i
			}
		}
	}
	if r.before < 0 || r.request < 0 || r.answer < 0 {
		return r, fmt.Errorf("the trace shows no refresh that a caller waited for: %+v", r)
	}
	return r, nil
}

var asked = regexp.MustCompile(`, (\d+)(?:\)| <unfinished|, )`)

// carries reports whether a write is of n bytes at least.
func carries(text string, n int) bool {
	m := asked.FindStringSubmatch(text[strings.LastIndex(text, `"`)+1:])
	var length int
	if m != nil {
		_, _ = fmt.Sscan(m[1], &length) // digits, by the pattern
	}
	return length >= n
}
