//go:build linux || darwin

package main

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// peakMemory returns the largest resident set of an ended process in bytes.
func peakMemory(p *os.ProcessState) int64 {
	ru, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(ru.Maxrss)
	}
	return int64(ru.Maxrss) << 10
}

// syncDisks waits until what was written is on the disk, so that one command does not pay for another.
func syncDisks() { unix.Sync() }

// own gives a copy the owner of the original, as far as this user may.
func own(name string, fi os.FileInfo) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if ok && os.Geteuid() == 0 {
		_ = os.Lchown(name, int(st.Uid), int(st.Gid))
	}
}

// sameOwner tells whether two files belong to the same user and group.
func sameOwner(a, b os.FileInfo) bool {
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && x.Uid == y.Uid && x.Gid == y.Gid
}
