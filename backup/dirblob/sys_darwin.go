package dirblob

import "golang.org/x/sys/unix"

func (osFS) renameNew(from, to string) error {
	return pathError(to, retry(func() error { return unix.RenamexNp(from, to, unix.RENAME_EXCL) }))
}
