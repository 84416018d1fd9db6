package crash

import (
	"os"
	"path/filepath"
	"testing"
)

// An msync names an address only, so that a sync of a file whose map was not seen
// would count as none. strace writes a call that another thread's overtook in two
// lines.
func TestATraceFollowsTheMapsOfFiles(t *testing.T) {
	t.Parallel()
	const sync = "7 1.9 msync(0x7f0000, 4096, MS_SYNC) = 0\n"
	for name, mapping := range map[string]string{
		"in one line": "7 1.1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 9</d/000001.vlog>, 0) = 0x7f0000\n",
		"overtaken": "7 1.1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 9</d/000001.vlog>, 0 <unfinished ...>\n" +
			"8 1.2 msync(0x6f0000, 4096, MS_SYNC) = 0\n" +
			"7 1.3 <... mmap resumed>)               = 0x7f0000\n",
		"moved": "7 1.1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 9</d/000001.vlog>, 0) = 0x5f0000\n" +
			"7 1.2 mremap(0x5f0000, 4096, 8192, MREMAP_MAYMOVE) = 0x7f0000\n",
		"moved, overtaken": "7 1.1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 9</d/000001.vlog>, 0) = 0x5f0000\n" +
			"7 1.2 mremap(0x5f0000, 4096, 8192, MREMAP_MAYMOVE <unfinished ...>\n" +
			"8 1.3 msync(0x6f0000, 4096, MS_SYNC) = 0\n" +
			"7 1.4 <... mremap resumed>)             = 0x7f0000\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "trace")
			if err := os.WriteFile(file, []byte(mapping+sync), 0o600); err != nil {
				t.Fatal(err)
			}
			tr := readTrace(t, file)
			if last := tr[len(tr)-1]; last.name != "msync" || last.file != "000001.vlog" {
				t.Errorf("the sync is taken for %s of %q, want msync of 000001.vlog", last.name, last.file)
			}
		})
	}
}
