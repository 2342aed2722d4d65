//go:build unix

package localfs

import (
	"context"
	"io"
	"path/filepath"
	"sync"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
	"golang.org/x/sys/unix"
)

// Source makes a source of the folder or file at path; a link at path itself is followed. A single file
// becomes a folder with that one name. Nothing is opened before Open, and every Open starts afresh.
//
// Its folders have a method LstatTo(name, *format.Entry), which is Lstat without an allocation. Entries
// share their Owner; nobody may change it. The root's entry has its Xattrs; what could not be read of them
// is the error of the folder's Xattrs(".", e).
func Source(path string) source.Source { return local(path) }

type local string

func (s local) Open(ctx context.Context) (source.Folder, *format.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	t := &tree{}
	fd, err := openRoot(string(s))
	if err == unix.ENOTDIR {
		return s.openFile(t)
	}
	if err != nil {
		return nil, nil, problem("open", string(s), err)
	}
	f := &folder{t: t, fd: fd}
	e := new(format.Entry)
	if err := f.fill("", e); err != nil {
		f.Close()
		return nil, nil, problem("stat", string(s), err)
	}
	e.Path = "."
	e.Xattrs, _ = t.xattrsAt(fd, "", e.Kind) // an error shows in Xattrs(".")
	return f, e, nil
}

func openRoot(path string) (int, error) {
	return retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
}

// openFile opens the folder of a single file, behind a folder that shows nothing else.
func (s local) openFile(t *tree) (source.Folder, *format.Entry, error) {
	real, err := filepath.EvalSymlinks(string(s))
	if err != nil {
		return nil, nil, problem("open", string(s), err)
	}
	fd, err := openRoot(filepath.Dir(real))
	if err != nil {
		return nil, nil, problem("open", string(s), err)
	}
	f := &folder{t: t, fd: fd}
	one := &single{f: f, shown: filepath.Base(string(s)), real: filepath.Base(real)}
	if _, err := f.Lstat(one.real); err != nil {
		f.Close()
		return nil, nil, err
	}
	return one, &format.Entry{Path: ".", Kind: format.Dir, Mode: 0o700}, nil
}

// folder is one open folder.
type folder struct {
	t  *tree
	mu sync.Mutex // the position of fd, which Names moves
	fd int
}

func (f *folder) Names(ctx context.Context) (source.Names, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, err := readNames(ctx, f.t, f.fd)
	if err != nil {
		return nil, problem("list", "", err)
	}
	return l, nil
}

func (f *folder) Lstat(name string) (*format.Entry, error) {
	e := new(format.Entry)
	if err := f.LstatTo(name, e); err != nil {
		return nil, err
	}
	return e, nil
}

// LstatTo is Lstat into an entry of the caller's, all of whose fields are set.
func (f *folder) LstatTo(name string, e *format.Entry) error {
	err := checkName(name)
	if err == nil {
		err = f.fill(name, e)
	}
	return problem("stat", name, err)
}

// fill describes name, or the folder itself if name is empty.
func (f *folder) fill(name string, e *format.Entry) error {
	x, err := f.t.stat(f.fd, name, e)
	if err != nil {
		return err
	}
	f.t.complete(e, &x)
	if e.Kind == format.Symlink {
		e.Target, err = readLink(f.fd, name, e.Size)
		e.Size = 0
	}
	return err
}

// complete adds what is the tree's to know.
func (t *tree) complete(e *format.Entry, x *extra) {
	e.Owner = t.owners.get(x.uid, x.gid)
	if x.nlink > 1 && e.Kind != format.Dir {
		e.LinkGroup = t.linkGroup(x.dev, e.Inode)
	} else if e.Kind == format.Dir {
		t.device(x.dev) // so that devices are numbered in the order of the walk
	}
}

// Xattrs takes "." too, for the folder itself.
func (f *folder) Xattrs(name string, e *format.Entry) error {
	at := name
	if name == "." {
		at = ""
	} else if err := checkName(name); err != nil {
		return problem("xattr", name, err)
	}
	var err error
	e.Xattrs, err = f.t.xattrsAt(f.fd, at, e.Kind)
	return asProblem("xattr", name, err)
}

func (f *folder) Folder(name string) (source.Folder, error) {
	if err := checkName(name); err != nil {
		return nil, problem("open", name, err)
	}
	fd, err := openQuiet(f.fd, name, unix.O_DIRECTORY)
	if err == unix.ENOTDIR || isLinkError(err) {
		err = wrongKind(err)
	}
	if err != nil {
		return nil, problem("open", name, err)
	}
	return &folder{t: f.t, fd: fd}, nil
}

func (f *folder) File(name string) (source.File, error) {
	if err := checkName(name); err != nil {
		return nil, problem("open", name, err)
	}
	// A FIFO put here since Lstat must not block us.
	fd, err := openQuiet(f.fd, name, unix.O_NONBLOCK)
	if isLinkError(err) || err == unix.ENXIO {
		err = wrongKind(err)
	}
	if err != nil {
		return nil, problem("open", name, err)
	}
	file := &file{t: f.t, fd: fd, name: name}
	var e format.Entry
	x, err := f.t.stat(fd, "", &e)
	if err == nil && e.Kind != format.File {
		err = ErrKind
	}
	if err != nil {
		unix.Close(fd)
		return nil, problem("open", name, err)
	}
	file.size, file.sparse = e.Size, x.blocks < e.Size>>9
	return file, nil
}

func (f *folder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return problem("close", "", ErrClosed)
	}
	err := unix.Close(f.fd)
	f.fd = -1
	return problem("close", "", err)
}

// file is an open regular file.
type file struct {
	t      *tree
	fd     int
	name   string
	pos    int64
	size   int64 // as last seen
	sparse bool  // fewer blocks than its size needs
}

func (f *file) Read(p []byte) (int, error) {
	n, err := retry(func() (int, error) { return unix.Read(f.fd, p) })
	if err != nil {
		return 0, problem("read", f.name, err)
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	f.pos += int64(n)
	return n, nil
}

func (f *file) Close() error {
	if f.fd < 0 {
		return problem("close", f.name, ErrClosed)
	}
	err := unix.Close(f.fd)
	f.fd = -1
	return problem("close", f.name, err)
}

func (f *file) Stat() (*format.Entry, error) {
	e := new(format.Entry)
	x, err := f.t.stat(f.fd, "", e)
	if err != nil {
		return nil, problem("stat", f.name, err)
	}
	f.t.complete(e, &x)
	return e, nil
}

// NextData asks the system only for a file that has fewer blocks than its size needs; in others a hole is
// at worst read as zeros.
func (f *file) NextData(off int64) (start, end int64, err error) {
	if off >= f.size {
		var e format.Entry
		if _, err := f.t.stat(f.fd, "", &e); err != nil {
			return 0, 0, problem("seek", f.name, err)
		}
		f.size = e.Size
	}
	start, end = off, max(off, f.size)
	if f.sparse && off < f.size {
		start, end, err = dataRun(f.fd, off, f.size)
		f.pos = -1
	}
	if err == nil && f.pos != start {
		_, err = unix.Seek(f.fd, start, io.SeekStart)
		f.pos = start
	}
	if err != nil {
		return 0, 0, problem("seek", f.name, err)
	}
	return start, end, nil
}

// dataRun finds the run of data at or after off. Where the file system cannot tell, all is data.
func dataRun(fd int, off, size int64) (start, end int64, err error) {
	start, err = unix.Seek(fd, off, unix.SEEK_DATA)
	switch err {
	case nil:
	case unix.ENXIO:
		return size, size, nil
	case unix.EINVAL, unix.ENOTSUP, unix.ENOTTY:
		return off, size, nil
	default:
		return 0, 0, err
	}
	end, err = unix.Seek(fd, start, unix.SEEK_HOLE)
	if err == unix.ENXIO { // it shrank in between
		return start, start, nil
	}
	return start, end, err
}

// retry repeats a system call that a signal interrupted.
func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if err != unix.EINTR {
			return v, err
		}
	}
}

func retryErr(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func readLink(dir int, name string, size int64) (string, error) {
	buf := make([]byte, max(size+1, 256))
	for {
		n, err := unix.Readlinkat(dir, name, buf)
		if err != nil {
			return "", err
		}
		if n < len(buf) {
			return string(buf[:n]), nil
		}
		if len(buf) > format.MaxPath {
			return "", unix.ENAMETOOLONG
		}
		buf = make([]byte, 2*len(buf))
	}
}

func kindOfMode(mode uint32) format.Kind {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return format.Dir
	case unix.S_IFLNK:
		return format.Symlink
	case unix.S_IFIFO:
		return format.FIFO
	case unix.S_IFSOCK:
		return format.Socket
	case unix.S_IFCHR:
		return format.CharDevice
	case unix.S_IFBLK:
		return format.BlockDevice
	}
	return format.File
}
