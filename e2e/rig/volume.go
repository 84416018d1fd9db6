package rig

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Volume is a file system of its own, mounted in a mount namespace that ends
// with the test: a process holds it, and dies when the test's end of a pipe closes.
type Volume struct {
	// Dir is where it is mounted, for those inside the namespace.
	Dir string
	pid int
	// image is the file under it; "" for one in memory.
	image string
}

// NewMemory mounts a tmpfs of that many MiB.
func NewMemory(t testing.TB, size int) *Volume {
	t.Helper()
	v := &Volume{Dir: t.TempDir()}
	v.mount(t, fmt.Sprintf("mount -t tmpfs -o size=%dm,mode=700 holdfast %q", size, v.Dir))
	return v
}

// NewDisk mounts an ext4 of that many MiB, which turns read-only at its first error.
func NewDisk(t testing.TB, size int) *Volume {
	t.Helper()
	v := &Volume{Dir: t.TempDir(), image: filepath.Join(t.TempDir(), "image")}
	f, err := os.Create(v.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(int64(size)<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", v.image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4 (Debian's package is e2fsprogs; scripts/setup.sh installs it): %v\n%s", err, out)
	}
	v.mount(t, v.mountImage())
	return v
}

func (v *Volume) mountImage() string {
	return fmt.Sprintf("mount -t ext4 -o loop,errors=remount-ro %q %q", v.image, v.Dir)
}

// mount runs the command in a new mount namespace and keeps that until the test ends.
func (v *Volume) mount(t testing.TB, command string) {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "--", "sh", "-c", command+" && echo mounted && exec cat")
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var problems strings.Builder
	cmd.Stderr = &problems
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting unshare (Debian's package is util-linux): %v", err)
	}
	t.Cleanup(func() {
		_ = hold.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != "mounted\n" {
		t.Fatalf("mounting a file system of the test's own: it needs root and util-linux; `make setup` says what is missing (%v)\n%s", err, problems.String())
	}
	v.pid = cmd.Process.Pid
}

// Beside mounts a second tmpfs, of that many MiB, in the same namespace.
func (v *Volume) Beside(t testing.TB, size int) *Volume {
	t.Helper()
	other := &Volume{Dir: t.TempDir(), pid: v.pid}
	v.run(t, fmt.Sprintf("mount -t tmpfs -o size=%dm,mode=700 holdfast %q", size, other.Dir))
	return other
}

// Within starts a command inside the namespace.
func (v *Volume) Within() []string {
	return []string{"nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", v.pid), "--"}
}

// run runs a shell command inside the namespace.
func (v *Volume) run(t testing.TB, command string) string {
	t.Helper()
	line := append(v.Within(), "sh", "-c", command)
	out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Root is the volume's directory as this process reaches it.
func (v *Volume) Root() string { return filepath.Join("/proc", fmt.Sprint(v.pid), "root", v.Dir) }

func (v *Volume) filler() string { return filepath.Join(v.Root(), "somebody-elses-file") }

// Fill writes until there is no byte left.
func (v *Volume) Fill(t testing.TB) {
	t.Helper()
	f, err := os.Create(v.filler())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	block := make([]byte, 1<<20)
	for len(block) > 0 {
		switch _, err := f.Write(block); {
		case errors.Is(err, syscall.ENOSPC):
			block = block[:len(block)/2]
		case err != nil:
			t.Fatal(err)
		}
	}
}

// Free makes room again.
func (v *Volume) Free(t testing.TB) {
	t.Helper()
	if err := os.Remove(v.filler()); err != nil {
		t.Fatal(err)
	}
}

// Fail makes the kernel meet an error of the file system, as a dying disk does:
// from then on it is read-only.
func (v *Volume) Fail(t testing.TB) {
	t.Helper()
	v.run(t, fmt.Sprintf("echo a test > /sys/fs/ext4/$(basename $(findmnt -no SOURCE %q))/trigger_fs_error", v.Dir))
}

// Repair does what an operator does after that. Nobody may have a file open.
func (v *Volume) Repair(t testing.TB) {
	t.Helper()
	// e2fsck exits with 1 when it has mended something.
	v.run(t, fmt.Sprintf("umount %q && { e2fsck -fy %q || [ $? -eq 1 ]; } && %s", v.Dir, v.image, v.mountImage()))
}
