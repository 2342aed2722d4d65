package dirblob

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/windows"
)

const openNonblock = 0

// openSync opens for writing, without which Windows does not flush.
func (osFS) openSync(path string) (file, error) { return fileOf(os.OpenFile(path, os.O_RDWR, 0)) }

func (osFS) remove(path string) error { return onPath(path, windows.DeleteFile) }

func (osFS) rmdir(path string) error { return onPath(path, windows.RemoveDirectory) }

func (osFS) rename(from, to string) error {
	return move(from, to, windows.MOVEFILE_REPLACE_EXISTING|windows.MOVEFILE_WRITE_THROUGH)
}

func (osFS) renameNew(from, to string) error {
	return move(from, to, windows.MOVEFILE_WRITE_THROUGH)
}

func move(from, to string, flags uint32) error {
	f, err := windows.UTF16PtrFromString(longPath(from))
	if err != nil {
		return &fs.PathError{Path: from, Err: err}
	}
	return onPath(to, func(t *uint16) error { return windows.MoveFileEx(f, t, flags) })
}

func onPath(path string, call func(*uint16) error) error {
	p, err := windows.UTF16PtrFromString(longPath(path))
	if err == nil {
		err = call(p)
	}
	if err != nil {
		return &fs.PathError{Path: path, Err: err}
	}
	return nil
}

// longPath lifts the limit of 260 characters, as package os does for its own calls.
func longPath(path string) string {
	switch {
	case len(path) < 248 || strings.HasPrefix(path, `\\?\`):
		return path
	case strings.HasPrefix(path, `\\`):
		return `\\?\UNC\` + path[2:]
	default:
		return `\\?\` + path
	}
}

// openDir keeps no handle, because that would keep the folder from being removed.
// Windows cannot flush a folder; MOVEFILE_WRITE_THROUGH stands in for it.
func (osFS) openDir(path string) (folderHandle, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	return unflushed(path), nil
}

type unflushed string

func (u unflushed) Stat() (fs.FileInfo, error) { return os.Stat(string(u)) }
func (u unflushed) Sync() error                { return nil }
func (u unflushed) Close() error               { return nil }

func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

func isReadOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }
