//go:build linux && !(386 || arm || mips || mipsle)

package localfs

import (
	"github.com/carekeep/carekeep/internal/format"
	"golang.org/x/sys/unix"
)

const sysUtimensat = unix.SYS_UTIMENSAT

func setTimespec(ts *unix.Timespec, t format.Time) { ts.Sec, ts.Nsec = t.Sec, int64(t.Nsec) }
