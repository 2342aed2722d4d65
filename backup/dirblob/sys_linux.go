package dirblob

import "golang.org/x/sys/unix"

func (osFS) renameNew(from, to string) error {
	return pathError(to, retry(func() error {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	}))
}
