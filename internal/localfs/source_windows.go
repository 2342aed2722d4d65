package localfs

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
	"golang.org/x/sys/windows"
)

// Source makes a source of the folder or file at path; a link at path itself is followed. A single file
// becomes a folder with that one name. Nothing is opened before Open, and every Open starts afresh.
//
// Links and junctions are links, and are never followed. A file whose content a cloud or archive service keeps
// elsewhere has an entry, but opening it is [ErrNotLocal]. Security descriptors and alternate streams are
// not read.
func Source(path string) source.Source { return local(path) }

type local string

func (s local) Open(ctx context.Context) (source.Folder, *format.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	h, err := openAt(string(s), accessFolder)
	if err != nil {
		return nil, nil, problem("open", string(s), err)
	}
	f := &folder{t: &tree{}, h: h}
	e := new(format.Entry)
	if _, err := statHandle(h, e); err != nil {
		f.Close()
		return nil, nil, problem("stat", string(s), err)
	}
	if e.Kind != format.Dir {
		f.Close()
		return s.openFile()
	}
	e.Path = "."
	return f, e, nil
}

// openFile opens the folder of a single file, showing nothing else of it.
func (s local) openFile() (source.Folder, *format.Entry, error) {
	real, err := filepath.EvalSymlinks(string(s))
	if err != nil {
		return nil, nil, problem("open", string(s), err)
	}
	h, err := openAt(filepath.Dir(real), accessFolder)
	if err != nil {
		return nil, nil, problem("open", string(s), err)
	}
	f := &folder{t: &tree{}, h: h}
	one := &single{f: f, shown: filepath.Base(string(s)), real: filepath.Base(real)}
	if _, err := f.Lstat(one.real); err != nil {
		f.Close()
		return nil, nil, err
	}
	return one, &format.Entry{Path: ".", Kind: format.Dir, Mode: 0o755}, nil
}

// folder is one open folder.
type folder struct {
	t  *tree
	mu sync.Mutex // the position of h, which Names moves
	h  windows.Handle
}

func (f *folder) Names(ctx context.Context) (source.Names, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, err := readNames(ctx, f.t, f.h)
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
	if err := checkWindows(name); err != nil {
		return problem("stat", name, err)
	}
	x, err := statAt(f.h, name, e)
	if err == nil {
		f.t.complete(e, &x)
	}
	return problem("stat", name, err)
}

// checkWindows lets names pass that only this API can make, such as those with a dot at the end, but
// not what would open a stream or another folder.
func checkWindows(name string) error {
	if strings.ContainsAny(name, `\:`) {
		return ErrName
	}
	return checkName(name)
}

func (t *tree) complete(e *format.Entry, x *extra) {
	if x.nlink > 1 && e.Kind != format.Dir {
		e.LinkGroup = t.linkGroup(x.dev, e.Inode)
	} else if e.Kind == format.Dir {
		t.device(x.dev)
	}
}

// Xattrs does nothing: Windows has no attributes of this sort.
func (f *folder) Xattrs(string, *format.Entry) error { return nil }

func (f *folder) Folder(name string) (source.Folder, error) {
	err := checkWindows(name)
	if err != nil {
		return nil, problem("open", name, err)
	}
	h, err := openFolderAt(f.h, name, accessFolder)
	if err != nil {
		return nil, problem("open", name, err)
	}
	return &folder{t: f.t, h: h}, nil
}

func (f *folder) File(name string) (source.File, error) {
	file, err := f.open(name)
	if err != nil {
		return nil, problem("open", name, err)
	}
	return file, nil
}

func (f *folder) open(name string) (*file, error) {
	if err := checkWindows(name); err != nil {
		return nil, err
	}
	// First without access to the data, because opening for that can start a download.
	var e format.Entry
	x, err := statAt(f.h, name, &e)
	switch {
	case err != nil:
		return nil, err
	case e.Kind != format.File:
		return nil, ErrKind
	case e.Attributes&(attrRecall|attrOffline) != 0:
		return nil, ErrNotLocal
	}
	// A reparse point here stores the file in another way; its driver must see the opening to give the content.
	h, err := ntOpen(f.h, name, accessRead, windows.FILE_OPEN, windows.FILE_NON_DIRECTORY_FILE, x.reparse != 0)
	if err != nil {
		return nil, err
	}
	var opened format.Entry
	if _, err = statHandle(h, &opened); err == nil && (opened.Kind != format.File || opened.Inode != e.Inode) {
		err = ErrKind // exchanged in between
	}
	if err != nil {
		windows.CloseHandle(h)
		return nil, err
	}
	return &file{t: f.t, h: h, name: name, size: opened.Size, sparse: opened.Attributes&attrSparse != 0}, nil
}

func (f *folder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.h == windows.InvalidHandle {
		return problem("close", "", ErrClosed)
	}
	err := windows.CloseHandle(f.h)
	f.h = windows.InvalidHandle
	return problem("close", "", err)
}

// file is an open regular file.
type file struct {
	t      *tree
	h      windows.Handle
	name   string
	pos    int64
	size   int64
	sparse bool
}

func (f *file) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := readHandle(f.h, p, f.pos)
	f.pos += int64(n)
	return n, ioProblem("read", f.name, err)
}

func readHandle(h windows.Handle, p []byte, off int64) (int, error) {
	var n uint32
	o := windows.Overlapped{Offset: uint32(off), OffsetHigh: uint32(off >> 32)}
	err := windows.ReadFile(h, p[:min(len(p), 1<<30)], &n, &o)
	if err == windows.ERROR_HANDLE_EOF || err == nil && n == 0 {
		return int(n), io.EOF
	}
	return int(n), err
}

func (f *file) Close() error {
	if f.h == windows.InvalidHandle {
		return problem("close", f.name, ErrClosed)
	}
	err := windows.CloseHandle(f.h)
	f.h = windows.InvalidHandle
	return problem("close", f.name, err)
}

func (f *file) Stat() (*format.Entry, error) {
	e := new(format.Entry)
	x, err := statHandle(f.h, e)
	if err != nil {
		return nil, problem("stat", f.name, err)
	}
	f.t.complete(e, &x)
	return e, nil
}

// NextData asks the system only for files that are marked as sparse.
func (f *file) NextData(off int64) (start, end int64, err error) {
	if off >= f.size {
		var e format.Entry
		if _, err := statHandle(f.h, &e); err != nil {
			return 0, 0, problem("seek", f.name, err)
		}
		f.size = e.Size
	}
	start, end = off, max(off, f.size)
	if f.sparse && off < f.size {
		if start, end, err = dataRun(f.h, off, f.size); err != nil {
			return 0, 0, problem("seek", f.name, err)
		}
	}
	f.pos = start
	return start, end, nil
}

// dataRun finds the run of data at or after off.
func dataRun(h windows.Handle, off, size int64) (start, end int64, err error) {
	type span struct{ off, n int64 }
	in := span{off, size - off}
	var out span
	var n uint32
	err = windows.DeviceIoControl(h, windows.FSCTL_QUERY_ALLOCATED_RANGES, (*byte)(unsafe.Pointer(&in)), uint32(unsafe.Sizeof(in)),
		(*byte)(unsafe.Pointer(&out)), uint32(unsafe.Sizeof(out)), &n, nil)
	switch {
	case err != nil && err != windows.ERROR_MORE_DATA:
		return off, size, nil // it cannot tell: all is data
	case n == 0:
		return size, size, nil
	}
	start = max(off, out.off)
	return start, max(start, min(size, out.off+out.n)), nil
}
