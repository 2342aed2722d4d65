//go:build darwin || freebsd

package localfs

import (
	"context"
	"io"
	"os"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"
)

// stat describes name in the folder dir, or dir itself if name is empty. It sets all fields of e but Path,
// Owner, LinkGroup, Target, Xattrs and Content, which it clears.
func (t *tree) stat(dir int, name string, e *format.Entry) (extra, error) {
	var st unix.Stat_t
	err := retryErr(func() error {
		if name == "" {
			return unix.Fstat(dir, &st)
		}
		return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return extra{}, err
	}
	*e = format.Entry{
		Kind: kindOfMode(uint32(st.Mode)), Mode: uint32(st.Mode) & 0o7777,
		ModTime: bsdTime(st.Mtim), ChangeTime: bsdTime(st.Ctim), Inode: st.Ino,
	}
	if st.Btim.Sec != -1 { // FreeBSD's way to say that it does not know
		e.BirthTime = bsdTime(st.Btim)
	}
	switch e.Kind {
	case format.File, format.Symlink:
		e.Size = st.Size
	case format.CharDevice, format.BlockDevice:
		rdev := uint64(st.Rdev)
		e.Device = uint64(unix.Major(rdev))<<32 | uint64(unix.Minor(rdev))
	}
	return extra{uid: st.Uid, gid: st.Gid, dev: uint64(st.Dev), nlink: uint64(st.Nlink), blocks: st.Blocks}, nil
}

func bsdTime(t unix.Timespec) format.Time {
	return format.Time{Sec: int64(t.Sec), Nsec: uint32(t.Nsec)}
}

// openQuiet opens for reading without following a link.
func openQuiet(dir int, name string, flags int) (int, error) {
	flags |= unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	return retry(func() (int, error) { return unix.Openat(dir, name, flags, 0) })
}

// FreeBSD has its own error for O_NOFOLLOW.
func isLinkError(err error) bool { return err == unix.ELOOP || err == unix.EMLINK }

const namesBatch = 1024

// readNames reads the folder fd from its beginning, through a second descriptor that os.File may own.
func readNames(ctx context.Context, _ *tree, fd int) (*list, error) {
	own, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(own), "")
	defer d.Close()
	l := new(list)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		names, err := d.Readdirnames(namesBatch)
		if len(names) > 0 {
			l.addStrings(names)
		}
		if err == io.EOF {
			l.sort()
			return l, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// errNoXattr says that there is no such attribute.
const errNoXattr = unix.ENOATTR

// xattrsAt reads the extended attributes of name in dir, or of dir itself if name is empty. There is no call
// relative to a folder, so files, folders and (on macOS) links are opened; FIFOs and devices never are.
func (t *tree) xattrsAt(dir int, name string, kind format.Kind) ([]format.Xattr, error) {
	fd := dir
	if name != "" {
		flags := unix.O_NONBLOCK
		switch {
		case kind == format.Symlink && openLink != 0:
			flags |= openLink
		case kind != format.File && kind != format.Dir:
			return nil, nil
		}
		var err error
		if openLink != 0 && kind == format.Symlink {
			fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
		} else {
			fd, err = openQuiet(dir, name, flags)
		}
		if err != nil {
			return nil, err
		}
		defer unix.Close(fd)
	}
	return t.xattrsOf(fd)
}

// xattrsOf reads the extended attributes of an open file.
func (t *tree) xattrsOf(fd int) ([]format.Xattr, error) {
	file, err := borrowed(fd)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	names, err := xattr.FList(file)
	if err != nil {
		return nil, noSupport(xattrErrno(err))
	}
	packed := []byte{}
	for _, n := range names {
		packed = append(append(packed, n...), 0)
	}
	buf := t.buffer()
	defer t.bufs.Put(buf)
	list := func(b []byte) (int, error) {
		if len(b) < len(packed) {
			return 0, unix.ERANGE
		}
		return copy(b, packed), nil
	}
	return readXattrs(buf, list, func(name string, b []byte) (int, error) {
		v, err := xattr.FGet(file, name)
		if err != nil {
			return 0, xattrErrno(err)
		}
		if len(b) < len(v) {
			return 0, unix.ERANGE
		}
		return copy(b, v), nil
	})
}

// borrowed is an os.File of a second descriptor, because an os.File closes its own.
func borrowed(fd int) (*os.File, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(own), ""), nil
}

func xattrErrno(err error) error {
	if x, ok := err.(*xattr.Error); ok {
		return x.Err
	}
	return err
}
