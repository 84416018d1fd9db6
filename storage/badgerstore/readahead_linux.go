package badgerstore

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mapping of a value log into this process.
type mapping struct {
	start, length uintptr
	file          string
}

// pages keeps the value log that Badger appends to in single pages of memory. Badger
// writes through a memory map, in order, which the kernel takes for a reason to read
// ahead in ever larger folios (since 6.16 on ext4, 5.18 on XFS); and a commit, which
// touches three pages, then writes whole folios to the disk: up to read_ahead_kb or
// 2 MiB each time. The logs before it are only read, and may be read ahead.
type pages struct {
	data string // Badger's directory, as the kernel calls it
	// newest log that the kernel was told of.
	newest string
}

func newPages(data string) (*pages, error) {
	data, err := filepath.Abs(data)
	if err == nil {
		data, err = filepath.EvalSymlinks(data)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	return &pages{data: data}, nil
}

// follow tells the kernel of a log that Badger has begun since the last call. After
// an error it is as if nobody had told it anything. It reads a directory's entry,
// and little more if there is no new log.
func (p *pages) follow() error {
	if p.newest != "" {
		if _, err := os.Lstat(after(p.newest)); errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("looking for the value logs in memory: %w", err)
	}
	logs := mappedLogs(string(maps), p.data)
	if len(logs) == 0 {
		return errors.New("no value log is in memory")
	}
	p.newest = slices.MaxFunc(logs, func(a, b mapping) int { return cmp.Compare(a.file, b.file) }).file
	var errs []error
	for _, m := range logs {
		advice := uintptr(unix.MADV_NORMAL)
		if m.file == p.newest {
			advice = unix.MADV_RANDOM
		}
		// Of a log that has gone meanwhile it does no harm: it is advice.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.start, m.length, advice); errno != 0 && errno != unix.ENOMEM {
			errs = append(errs, fmt.Errorf("advising on %s: %w", m.file, errno))
		}
	}
	return errors.Join(errs...)
}

// after is the log that Badger begins after the given one.
func after(log string) string {
	n, _ := strconv.Atoi(strings.TrimSuffix(filepath.Base(log), valueLogSuffix)) // Badger named it
	return filepath.Join(filepath.Dir(log), fmt.Sprintf("%06d"+valueLogSuffix, n+1))
}

// mappedLogs are the value logs below a directory in a text of proc_pid_maps(5).
func mappedLogs(maps, data string) (logs []mapping) {
	for line := range strings.Lines(maps) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), "/", 2)
		if len(fields) < 2 || !strings.HasSuffix(fields[1], valueLogSuffix) || filepath.Dir("/"+fields[1]) != data {
			continue
		}
		from, to, _ := strings.Cut(strings.Fields(fields[0])[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil && start < end {
			logs = append(logs, mapping{uintptr(start), uintptr(end - start), "/" + fields[1]})
		}
	}
	return logs
}
