//go:build !windows

package engine

import (
	"errors"
	"syscall"
)

// isDiskFull tells that a disk, or a user's share of it, is full.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// isTooManyOpen tells that this process or system can open no more files.
func isTooManyOpen(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
