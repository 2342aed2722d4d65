package localfs

import (
	"golang.org/x/sys/unix"
)

// openLink: links are not opened on FreeBSD.
const openLink = 0

func (d *dir) mknod(name string, mode uint32, dev uint64) error {
	return unix.Mknodat(d.fd, name, mode, unix.Mkdev(uint32(dev>>32), uint32(dev)))
}
