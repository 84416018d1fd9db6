package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// memory of a process, in bytes. Resident is all of it, mapped files included,
// which the kernel takes back when somebody else needs room; anonymous is what
// only the process's end gives back.
type memory struct{ resident, anonymous int64 }

func memoryOf(pid int) (m memory, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return m, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			m.resident = kb << 10
		case "RssAnon":
			m.anonymous = kb << 10
		}
	}
	return m, nil
}

// peak looks at a process's memory until stop is called, which returns the most
// of each that was seen, and what was seen last.
func peak(pid int, every time.Duration) (stop func() (most, last memory)) {
	var most, last memory
	ended := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			if m, err := memoryOf(pid); err == nil {
				last = m
				most = memory{max(most.resident, m.resident), max(most.anonymous, m.anonymous)}
			}
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	})
	return func() (memory, memory) {
		close(ended)
		group.Wait()
		return most, last
	}
}

// eachFile calls f with every regular file below dir.
func eachFile(dir string, f func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return f(path, info)
	})
}

// diskSize is what the files below dir take of the disk, in bytes; Badger's have holes.
func diskSize(dir string) (total int64, err error) {
	err = eachFile(dir, func(_ string, info fs.FileInfo) error {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512
		}
		return nil
	})
	return total, err
}

// dropCache has the kernel forget the content of the files below dir, as far as
// nobody has them mapped.
func dropCache(dir string) error {
	return eachFile(dir, func(path string, _ fs.FileInfo) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}
