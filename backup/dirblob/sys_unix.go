//go:build unix

package dirblob

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openNonblock keeps the open of a pipe that somebody put into the folder from hanging.
const openNonblock = syscall.O_NONBLOCK

func (o osFS) openSync(path string) (file, error) { return o.openRead(path) }

func (osFS) remove(path string) error {
	return pathError(path, retry(func() error { return syscall.Unlink(path) }))
}

func (osFS) rmdir(path string) error {
	return pathError(path, retry(func() error { return syscall.Rmdir(path) }))
}

func (osFS) rename(from, to string) error { return os.Rename(from, to) }

func (osFS) openDir(path string) (folderHandle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// retry repeats a call that a signal interrupted, which network file systems do.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func pathError(path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Path: path, Err: err}
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }
