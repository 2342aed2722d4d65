//go:build unix

package localfs

import (
	"context"
	"errors"
	"io"

	"github.com/carekeep/carekeep/internal/format"
	"golang.org/x/sys/unix"
)

// hasOwners says that files have a numeric owner and group here.
const hasOwners = true

// identity is who the process is to the file system.
type identity struct{ uid, gid uint32 }

func currentIdentity() identity {
	return identity{uint32(unix.Geteuid()), uint32(unix.Getegid())}
}

func isNotEmpty(err error) bool { return err == unix.ENOTEMPTY || err == unix.EEXIST }

// dir is an open folder of the target. Every name given to it is a single one.
type dir struct{ fd int }

func openTargetDir(path string) (d *dir, created bool, err error) {
	err = retryErr(func() error { return unix.Mkdir(path, 0o700) })
	if err != nil && err != unix.EEXIST && err != unix.EISDIR && err != unix.EROFS {
		return nil, false, err
	}
	created = err == nil
	fd, openErr := openRoot(path)
	switch {
	case openErr == unix.ENOENT && err == unix.EROFS: // not there, and why it could not be made
		return nil, false, err
	case openErr != nil:
		return nil, false, openErr
	}
	return &dir{fd}, created, nil
}

func (d *dir) close() error { return unix.Close(d.fd) }

func (d *dir) stat(t *tree, name string, e *format.Entry) (extra, error) {
	return t.stat(d.fd, name, e)
}

func (d *dir) names(t *tree) (*list, error) { return readNames(context.Background(), t, d.fd) }

func (d *dir) mkdir(name string, mode uint32) error {
	return retryErr(func() error { return unix.Mkdirat(d.fd, name, mode) })
}

const openDirFlags = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// openDir opens a real folder; anything else is ErrKind.
func (d *dir) openDir(name string) (*dir, error) { return d.openAs(name, unix.O_RDONLY) }

func (d *dir) openAs(name string, flags int) (*dir, error) {
	fd, err := retry(func() (int, error) { return unix.Openat(d.fd, name, flags|openDirFlags, 0) })
	if err == unix.ENOTDIR || isLinkError(err) {
		return nil, wrongKind(err)
	}
	if err != nil {
		return nil, err
	}
	return &dir{fd}, nil
}

// create makes a file that was not there.
func (d *dir) create(name string, mode uint32) (*handle, error) {
	return d.openHandle(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, mode)
}

// openFile opens what should be a regular file. It does not wait for the other side of a FIFO.
func (d *dir) openFile(name string) (*handle, error) {
	return d.openHandle(name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

func (d *dir) openHandle(name string, flags int, mode uint32) (*handle, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	})
	if err != nil {
		return nil, err
	}
	return &handle{fd}, nil
}

// remove removes a name. A folder must be empty.
func (d *dir) remove(name string, folder bool) error {
	flags := 0
	if folder {
		flags = unix.AT_REMOVEDIR
	}
	return retryErr(func() error { return unix.Unlinkat(d.fd, name, flags) })
}

// removeSame removes a name if it still is the file with this inode.
func (d *dir) removeSame(t *tree, name string, inode, dev uint64) error {
	var now format.Entry
	x, err := t.stat(d.fd, name, &now)
	if err == unix.ENOENT || err == nil && (now.Inode != inode || x.dev != dev) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.remove(name, false)
}

func (d *dir) symlink(target, name string, _ uint32) error {
	return retryErr(func() error { return unix.Symlinkat(target, d.fd, name) })
}

func (d *dir) link(from *dir, old, name string) error {
	return retryErr(func() error { return unix.Linkat(from.fd, old, d.fd, name, 0) })
}

// special makes a FIFO or a device that only its owner may open.
func (d *dir) special(name string, kind format.Kind, device uint64) error {
	mode := uint32(0o600)
	switch kind {
	case format.FIFO:
		mode |= unix.S_IFIFO
		device = 0
	case format.CharDevice:
		mode |= unix.S_IFCHR
	case format.BlockDevice:
		mode |= unix.S_IFBLK
	}
	return retryErr(func() error { return d.mknod(name, mode, device) })
}

// handle is an open file of the target.
type handle struct{ fd int }

func (h *handle) close() error { return unix.Close(h.fd) }

func (h *handle) stat(t *tree, e *format.Entry) (extra, error) { return t.stat(h.fd, "", e) }

func (h *handle) readAt(p []byte, off int64) (int, error) {
	for n := 0; ; {
		if n == len(p) {
			return n, nil
		}
		m, err := retry(func() (int, error) { return unix.Pread(h.fd, p[n:], off+int64(n)) })
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, io.EOF
		}
		n += m
	}
}

func (h *handle) writeAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := retry(func() (int, error) { return unix.Pwrite(h.fd, p[n:], off+int64(n)) })
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, io.ErrShortWrite
		}
		n += m
	}
	return n, nil
}

func (h *handle) truncate(size int64) error {
	return retryErr(func() error { return unix.Ftruncate(h.fd, size) })
}

// sparse: every file may have holes.
func (h *handle) sparse() {}

// zeros writes what cannot be punched out.
func (h *handle) zeros(off, n int64) error {
	buf := make([]byte, min(n, 256<<10))
	for n > 0 {
		m, err := h.writeAt(buf[:min(n, int64(len(buf)))], off)
		if err != nil {
			return err
		}
		off, n = off+int64(m), n-int64(m)
	}
	return nil
}

func unsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || err == unix.EINVAL
}

// setAttributes has no place for the FILE_ATTRIBUTE_ bits of Windows, and says so if they meant anything.
func (n node) setAttributes(e *format.Entry) error {
	if e.Attributes&(attrReadOnly|attrHidden|attrSystem) != 0 {
		return errors.ErrUnsupported
	}
	return nil
}

// sameBirth: birth times are not set.
func sameBirth(_, _ *format.Entry) bool { return true }

// keptMode and keptTime are what this system can have of them: all.
func keptMode(e *format.Entry) uint32    { return e.Mode }
func keptTime(t format.Time) format.Time { return t }
