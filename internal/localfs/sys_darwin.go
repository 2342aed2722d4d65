package localfs

import "golang.org/x/sys/unix"

// openLink opens a link itself.
const openLink = unix.O_SYMLINK

// mknod: macOS has no call relative to a folder before version 13.
func (d *dir) mknod(string, uint32, uint64) error { return unix.ENOTSUP }
