package localfs

import (
	"unsafe"

	"github.com/carekeep/carekeep/internal/format"
	"golang.org/x/sys/unix"
)

// openPath opens a folder only as a place for names, which needs no right to read it.
func (d *dir) openPath(name string) (*dir, error) { return d.openAs(name, unix.O_PATH) }

// makeUsable gives the owner access to a folder that cannot be opened.
func (d *dir) makeUsable(name string) error {
	sub, err := d.openPath(name)
	if err != nil {
		return err
	}
	defer sub.close()
	return node{fd: sub.fd, path: true}.chmod(0o700)
}

func (d *dir) mknod(name string, mode uint32, device uint64) error {
	return unix.Mknodat(d.fd, name, mode, int(unix.Mkdev(uint32(device>>32), uint32(device))))
}

// The names of the two ACLs.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

func (d *dir) hasDefaultACL() bool {
	n, err := unix.Fgetxattr(d.fd, aclDefault, nil)
	return err == nil && n > 0
}

// dropACLs removes what a new folder inherited.
func (d *dir) dropACLs() error {
	if err := unix.Fremovexattr(d.fd, aclAccess); err != nil && err != errNoXattr {
		return err
	}
	err := unix.Fremovexattr(d.fd, aclDefault)
	if err == errNoXattr {
		return nil
	}
	return err
}

// punch frees the space of n bytes at off.
func (h *handle) punch(off, n int64) error {
	err := retryErr(func() error {
		return unix.Fallocate(h.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
	if unsupported(err) {
		return h.zeros(off, n)
	}
	return err
}

// node is a file, folder, link or the like whose attributes are set, by descriptor, so that nobody can put
// another thing under its name meanwhile.
type node struct {
	fd   int
	path bool // opened with O_PATH: it cannot be read or written
}

func (d *dir) node() node    { return node{fd: d.fd} }
func (h *handle) node() node { return node{fd: h.fd} }

func (n *node) at(*dir, string) {}

// openNode opens something that is not a file or folder, without any effect on it.
func (d *dir) openNode(name string, _ format.Kind) (node, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	return node{fd: fd, path: true}, err
}

func (n node) close() error { return unix.Close(n.fd) }

func (n node) stat(t *tree, e *format.Entry) (extra, error) { return t.stat(n.fd, "", e) }

func (n node) chown(uid, gid int) error {
	if n.path {
		return unix.Fchownat(n.fd, "", uid, gid, unix.AT_EMPTY_PATH)
	}
	return unix.Fchown(n.fd, uid, gid)
}

func (n node) chmod(mode uint32) error {
	if !n.path {
		return unix.Fchmod(n.fd, mode)
	}
	err := unix.Fchmodat(n.fd, "", mode, unix.AT_EMPTY_PATH) // since Linux 6.6
	if unsupported(err) {
		err = unix.Fchmodat(unix.AT_FDCWD, procPath(n.fd, ""), mode, 0)
	}
	return err
}

// setTimes leaves the access time; Linux cannot set a birth time.
func (n node) setTimes(mod, _ format.Time) error {
	// struct __kernel_timespec, of 64 bits on every machine.
	times := [2]struct{ sec, nsec int64 }{{0, unix.UTIME_OMIT}, {mod.Sec, int64(mod.Nsec)}}
	var empty [1]byte
	path, flags := uintptr(0), uintptr(0)
	if n.path {
		path, flags = uintptr(unsafe.Pointer(&empty[0])), unix.AT_EMPTY_PATH
	}
	_, _, errno := unix.Syscall6(sysUtimensat, uintptr(n.fd), path, uintptr(unsafe.Pointer(&times)), flags, 0, 0)
	switch errno {
	case 0:
		return nil
	case unix.ENOSYS, unix.EINVAL: // before 5.1 on 32 bits, before 5.8 with an empty path
		return n.setTimesByPath(mod)
	}
	return errno
}

func (n node) setTimesByPath(mod format.Time) error {
	var ts [2]unix.Timespec
	ts[0].Nsec = unix.UTIME_OMIT
	setTimespec(&ts[1], mod)
	if int64(ts[1].Sec) != mod.Sec {
		return unix.ERANGE
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, procPath(n.fd, ""), ts[:], 0)
}

func (n node) xattrs(t *tree) ([]format.Xattr, error) { return t.xattrsAt(n.fd, "", 0) }

func (n node) setXattr(name string, value []byte) error {
	if n.path {
		return unix.Setxattr(procPath(n.fd, ""), name, value, 0)
	}
	return unix.Fsetxattr(n.fd, name, value, 0)
}

func (n node) removeXattr(name string) error {
	if n.path {
		return unix.Removexattr(procPath(n.fd, ""), name)
	}
	return unix.Fremovexattr(n.fd, name)
}
