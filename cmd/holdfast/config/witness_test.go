package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheWitnessLiesOutsideOfTheStore(t *testing.T) {
	for _, row := range []struct{ name, store, want, problem string }{
		{"beside it by default", "dir: store", "store.witness", ""},
		{"beside it, however the directory is written", "dir: ./deep/../store/", "store.witness", ""},
		{"where it is told", "dir: store\n  witness_file: files/seen", "files/seen", ""},
		{"not in the store", "dir: store\n  witness_file: store/seen", "", ":5: store.witness_file: "},
		{"not deep in it", "dir: store\n  witness_file: store/a/b", "", "lies in store.dir"},
		{"not in it by another way", "dir: store\n  witness_file: store/../store/seen", "", "lies in store.dir"},
		{"not in it by a link", "dir: link\n  witness_file: files/seen", "", "lies in store.dir"},
		{"beside it although the names begin alike", "dir: files/a\n  witness_file: files/a2", "files/a2", ""},
		{"in a directory that exists", "dir: store\n  witness_file: nowhere/seen", "", ":5: store.witness_file: the directory "},
		{"in a directory", "dir: store\n  witness_file: files/kek/seen", "", ":5: store.witness_file: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := dir(t)
			if err := os.Symlink(filepath.Join(d, "files"), filepath.Join(d, "link")); err != nil {
				t.Fatal(err)
			}
			c, _, err := Parse(filepath.Join(d, "holdfast.yaml"), []byte(strings.Replace(whole, "dir: store", row.store, 1)))
			if row.problem != "" {
				if err == nil || !strings.Contains(err.Error(), row.problem) {
					t.Fatalf("want %q, got\n%v", row.problem, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(d, row.want); c.Store.WitnessFile != want {
				t.Errorf("the witness is %s, want %s", c.Store.WitnessFile, want)
			}
		})
	}
}
