package localfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"runtime"
	"unsafe"

	"github.com/carekeep/carekeep/internal/format"
	"golang.org/x/sys/unix"
)

// smallName holds a name and its NUL on the stack; Linux itself allows 255 bytes, and file systems that
// allow more are rare.
type smallName [256]byte

func cString(buf *smallName, name string) (*byte, error) {
	if len(name) < len(buf) {
		copy(buf[:], name)
		buf[len(name)] = 0
		return &buf[0], nil
	}
	return unix.BytePtrFromString(name)
}

// stat describes name in the folder dir, or dir itself if name is empty. It sets all fields of e but Path,
// Owner, LinkGroup, Target, Xattrs and Content, which it clears. One statx gives the birth time too.
func (t *tree) stat(dir int, name string, e *format.Entry) (extra, error) {
	var st unix.Statx_t
	if err := t.statx(dir, name, &st); err != nil {
		return extra{}, err
	}
	*e = format.Entry{
		Kind: kindOfMode(uint32(st.Mode)), Mode: uint32(st.Mode) & 0o7777,
		ModTime: statxTime(st.Mtime), ChangeTime: statxTime(st.Ctime),
		Inode: st.Ino,
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		e.BirthTime = statxTime(st.Btime)
	}
	switch e.Kind {
	case format.File, format.Symlink:
		e.Size = int64(st.Size)
	case format.CharDevice, format.BlockDevice:
		e.Device = uint64(st.Rdev_major)<<32 | uint64(st.Rdev_minor)
	}
	return extra{uid: st.Uid, gid: st.Gid, nlink: uint64(st.Nlink), blocks: int64(st.Blocks),
		dev: uint64(st.Dev_major)<<32 | uint64(st.Dev_minor)}, nil
}

func statxTime(t unix.StatxTimestamp) format.Time { return format.Time{Sec: t.Sec, Nsec: t.Nsec} }

func (t *tree) statx(dir int, name string, st *unix.Statx_t) error {
	var buf smallName
	p, err := cString(&buf, name)
	if err != nil {
		return err
	}
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	for !t.noStatx.Load() {
		_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(p)), uintptr(flags),
			unix.STATX_BASIC_STATS|unix.STATX_BTIME, uintptr(unsafe.Pointer(st)), 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.ENOSYS:
			t.noStatx.Store(true)
		case unix.EPERM: // a sandbox older than the call says so
			err := oldStat(dir, name, flags, st)
			t.noStatx.Store(err == nil)
			return err
		default:
			return errno
		}
	}
	return oldStat(dir, name, flags, st)
}

// oldStat is for kernels before 4.11 and sandboxes that do not know statx.
func oldStat(dir int, name string, flags int, st *unix.Statx_t) error {
	var old unix.Stat_t
	if err := retryErr(func() error { return unix.Fstatat(dir, name, &old, flags) }); err != nil {
		return err
	}
	stamp := func(t unix.Timespec) unix.StatxTimestamp {
		return unix.StatxTimestamp{Sec: int64(t.Sec), Nsec: uint32(t.Nsec)}
	}
	*st = unix.Statx_t{
		Mode: uint16(old.Mode), Nlink: uint32(old.Nlink), Uid: old.Uid, Gid: old.Gid, Ino: old.Ino,
		Size: uint64(old.Size), Blocks: uint64(old.Blocks), Mtime: stamp(old.Mtim), Ctime: stamp(old.Ctim),
		Rdev_major: unix.Major(uint64(old.Rdev)), Rdev_minor: unix.Minor(uint64(old.Rdev)),
		Dev_major: unix.Major(uint64(old.Dev)), Dev_minor: unix.Minor(uint64(old.Dev)),
	}
	return nil
}

// openQuiet opens for reading without following a link and, where we may, without touching the access time.
func openQuiet(dir int, name string, flags int) (int, error) {
	flags |= unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := retry(func() (int, error) { return unix.Openat(dir, name, flags|unix.O_NOATIME, 0) })
	if err == unix.EPERM { // only the owner may
		fd, err = retry(func() (int, error) { return unix.Openat(dir, name, flags, 0) })
	}
	return fd, err
}

func isLinkError(err error) bool { return err == unix.ELOOP }

// readNames reads the folder fd from its beginning. Linux fills a large buffer with several thousand names
// in one call.
func readNames(ctx context.Context, t *tree, fd int) (*list, error) {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return nil, err
	}
	buf := t.buffer()
	defer t.bufs.Put(buf)
	l := new(list)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := retry(func() (int, error) { return unix.Getdents(fd, buf[:]) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			l.sort()
			return l, nil
		}
		l.addDirents(buf[:n])
	}
}

// errNoXattr says that there is no such attribute.
const errNoXattr = unix.ENODATA

// The layout of struct linux_dirent64: inode, offset, record length, type, name.
const (
	direntLen  = 16
	direntName = 19
)

func (l *list) addDirents(buf []byte) {
	size, count := 0, 0
	forDirents(buf, func(name []byte) { size += len(name); count++ })
	if count > 0 {
		l.grow(size, count)
		forDirents(buf, l.add)
	}
}

func forDirents(buf []byte, do func(name []byte)) {
	for len(buf) > direntName {
		n := int(binary.NativeEndian.Uint16(buf[direntLen:]))
		if n <= direntName || n > len(buf) {
			return
		}
		name := buf[direntName:n]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		if string(name) != "" && string(name) != "." && string(name) != ".." {
			do(name)
		}
		buf = buf[n:]
	}
}

// xattrsAt reads the extended attributes of name in dir, or of dir itself if name is empty. Since Linux 6.13
// there are calls for that; before, a path through /proc leads there without following a link at its end.
func (t *tree) xattrsAt(dir int, name string, _ format.Kind) ([]format.Xattr, error) {
	buf := t.buffer()
	defer t.bufs.Put(buf)
	if !t.noXattrAt.Load() {
		x := xattrAt{dir: dir, name: name}
		got, err := readXattrs(buf, x.list, x.get)
		if err != unix.ENOSYS && err != unix.EPERM {
			return got, err
		}
		t.noXattrAt.Store(true)
	}
	path := procPath(dir, name)
	if name == "" {
		return readXattrs(buf,
			func(b []byte) (int, error) { return unix.Listxattr(path, b) },
			func(attr string, b []byte) (int, error) { return unix.Getxattr(path, attr, b) })
	}
	return readXattrs(buf,
		func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		func(attr string, b []byte) (int, error) { return unix.Lgetxattr(path, attr, b) })
}

// xattrAt reads with listxattrat and getxattrat.
type xattrAt struct {
	dir  int
	name string
}

func (x xattrAt) flags() uintptr {
	if x.name == "" {
		return unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH
	}
	return unix.AT_SYMLINK_NOFOLLOW
}

func (x xattrAt) list(b []byte) (int, error) {
	var small smallName
	p, err := cString(&small, x.name)
	if err != nil {
		return 0, err
	}
	n, _, errno := unix.Syscall6(unix.SYS_LISTXATTRAT, uintptr(x.dir), uintptr(unsafe.Pointer(p)), x.flags(),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (x xattrAt) get(attr string, b []byte) (int, error) {
	var small smallName
	p, err := cString(&small, x.name)
	if err != nil {
		return 0, err
	}
	a, err := unix.BytePtrFromString(attr)
	if err != nil {
		return 0, err
	}
	// struct xattr_args. The buffer is on the heap, where nothing moves.
	args := struct {
		value       uint64
		size, flags uint32
	}{uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), uint32(len(b)), 0}
	n, _, errno := unix.Syscall6(unix.SYS_GETXATTRAT, uintptr(x.dir), uintptr(unsafe.Pointer(p)), x.flags(),
		uintptr(unsafe.Pointer(a)), uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
	runtime.KeepAlive(b)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
