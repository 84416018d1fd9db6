package badgerstore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// As smaps of proc(5) tells it: "rr" is what MADV_RANDOM leaves.
func TestOnlyTheNewestValueLogIsKeptInSinglePages(t *testing.T) {
	s := openTest(t, t.TempDir())
	for n := range 3 {
		swapAll(t, s, n)
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	single := map[string]bool{}
	var log string
	for line := range strings.Lines(string(smaps)) {
		if _, file, ok := strings.Cut(line, s.pages.data); ok {
			log = ""
			if file = strings.TrimSpace(file); strings.HasSuffix(file, valueLogSuffix) {
				log = filepath.Join(s.pages.data, file)
			}
		} else if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && log != "" {
			single[log] = strings.Contains(flags, " rr")
			log = ""
		}
	}
	if len(single) == 0 {
		t.Fatal("no value log is in memory")
	}
	newest := ""
	for log := range single {
		newest = max(newest, log)
	}
	for log, is := range single {
		if is != (log == newest) {
			t.Errorf("%s of %d logs: single pages %v", filepath.Base(log), len(single), is)
		}
	}
}
