package engine

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isDiskFull tells that a disk, or a user's share of it, is full.
func isDiskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// isTooManyOpen tells that this process can open no more files.
func isTooManyOpen(err error) bool { return errors.Is(err, windows.ERROR_TOO_MANY_OPEN_FILES) }
