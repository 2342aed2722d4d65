//go:build darwin || freebsd

package localfs

import (
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"
)

// utimeOmit leaves a time as it is; both systems have the same number.
const utimeOmit = -2

// openPath opens a folder as a place for names.
func (d *dir) openPath(name string) (*dir, error) { return d.openAs(name, unix.O_RDONLY) }

// makeUsable gives the owner access to a folder that cannot be opened.
func (d *dir) makeUsable(name string) error {
	return unix.Fchmodat(d.fd, name, 0o700, unix.AT_SYMLINK_NOFOLLOW)
}

// The ACLs of macOS and FreeBSD are not extended attributes and are not restored.
func (d *dir) hasDefaultACL() bool { return false }
func (d *dir) dropACLs() error     { return nil }

// punch writes zeros: these systems punch whole blocks only, or not at all.
func (h *handle) punch(off, n int64) error { return h.zeros(off, n) }

// node is a file, folder, link or the like whose attributes are set: by descriptor where there is one, else by
// its name in its folder, without following a link.
type node struct {
	fd   int // -1: none
	dir  *dir
	name string
}

func (d *dir) node() node    { return node{fd: d.fd, dir: d, name: "."} }
func (h *handle) node() node { return node{fd: h.fd} }

// at says where the name is, for what needs one.
func (n *node) at(d *dir, name string) { n.dir, n.name = d, name }

func (d *dir) openNode(name string, _ format.Kind) (node, error) { return node{-1, d, name}, nil }

func (n node) close() error { return nil }

func (n node) stat(t *tree, e *format.Entry) (extra, error) {
	if n.fd >= 0 {
		return t.stat(n.fd, "", e)
	}
	return t.stat(n.dir.fd, n.name, e)
}

func (n node) chown(uid, gid int) error {
	if n.fd >= 0 {
		return unix.Fchown(n.fd, uid, gid)
	}
	return unix.Fchownat(n.dir.fd, n.name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

func (n node) chmod(mode uint32) error {
	if n.fd >= 0 {
		return unix.Fchmod(n.fd, mode)
	}
	return unix.Fchmodat(n.dir.fd, n.name, mode, unix.AT_SYMLINK_NOFOLLOW)
}

// setTimes uses the name, because only that takes nanoseconds, and the descriptor where a folder's own new
// mode forbids that. These systems move the birth time back with an earlier modification time.
func (n node) setTimes(mod, _ format.Time) error {
	t, err := unix.TimeToTimespec(time.Unix(mod.Sec, int64(mod.Nsec)))
	if err != nil {
		return err
	}
	if n.dir != nil {
		err = unix.UtimesNanoAt(n.dir.fd, n.name, []unix.Timespec{{Nsec: utimeOmit}, t}, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil || n.fd < 0 {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(n.fd, &st); err != nil {
		return err
	}
	return unix.Futimes(n.fd, []unix.Timeval{
		unix.NsecToTimeval(unix.TimespecToNsec(st.Atim)), unix.NsecToTimeval(unix.TimespecToNsec(t))})
}

func (n node) xattrs(t *tree) ([]format.Xattr, error) {
	if n.fd < 0 {
		return nil, nil
	}
	return t.xattrsOf(n.fd)
}

func (n node) setXattr(name string, value []byte) error {
	if n.fd < 0 {
		return unix.ENOTSUP
	}
	f, err := borrowed(n.fd)
	if err != nil {
		return err
	}
	defer f.Close()
	return xattrErrno(xattr.FSet(f, name, value))
}

func (n node) removeXattr(name string) error {
	if n.fd < 0 {
		return unix.ENOTSUP
	}
	f, err := borrowed(n.fd)
	if err != nil {
		return err
	}
	defer f.Close()
	return xattrErrno(xattr.FRemove(f, name))
}
