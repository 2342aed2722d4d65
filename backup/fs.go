package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"path"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/tree"
)

// FS returns the snapshot as a file system; ctx bounds every call on it and on its files. It implements
// fs.ReadDirFS, fs.StatFS, fs.ReadFileFS and fs.ReadLinkFS. Its files implement io.ReaderAt and io.Seeker,
// so one document or one table is read without restoring the rest. Symbolic links are followed within the
// snapshot. It is safe for concurrent use, as are ReadAt calls of one file.
//
// Names that are not valid UTF-8 are listed and can be opened, although package io/fs knows no such names.
//
// Errors are *fs.PathError to errors.As; their own text leaves the path out. Reading needs the reader's role;
// without it every call fails with [ErrRole].
func (s *Snapshot) FS(ctx context.Context) fs.FS { return &snapFS{ctx: ctx, s: s} }

type snapFS struct {
	ctx context.Context
	s   *Snapshot
}

var (
	_ fs.ReadDirFS  = (*snapFS)(nil)
	_ fs.StatFS     = (*snapFS)(nil)
	_ fs.ReadFileFS = (*snapFS)(nil)
	_ fs.ReadLinkFS = (*snapFS)(nil)
)

const maxLinks = 40 // as Linux: more in one path is a loop

// find returns the entry of name, following links in all elements, and in the last if follow is set.
func (f *snapFS) find(op, name string, follow bool) (*engine.Snapshot, *format.Entry, error) {
	fail := func(err error) (*engine.Snapshot, *format.Entry, error) {
		return nil, nil, pathError(op, name, err)
	}
	if !format.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	e, err := f.s.reader(f.ctx)
	if err != nil {
		return fail(err)
	}
	t := e.Tree()
	at := name
	for links := 0; ; links++ {
		if links > maxLinks {
			return fail(errors.New("too many levels of symbolic links"))
		}
		entry, err := t.Lookup(f.ctx, at)
		if err == nil && (entry.Kind != format.Symlink || !follow) {
			return e, entry, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail(err)
		}
		next, ok := f.resolve(t, at, entry)
		if !ok {
			return fail(fs.ErrNotExist)
		}
		at = next
	}
}

// resolve replaces the first link among the elements of at. It reports false where there is none, or where
// one leads out of the snapshot.
func (f *snapFS) resolve(t *tree.Tree, at string, last *format.Entry) (string, bool) {
	elems := strings.Split(at, "/")
	for i := range elems {
		prefix := strings.Join(elems[:i+1], "/")
		entry := last
		if i < len(elems)-1 || last == nil {
			var err error
			if entry, err = t.Lookup(f.ctx, prefix); err != nil {
				return "", false
			}
		}
		if entry.Kind != format.Symlink {
			continue
		}
		if strings.HasPrefix(entry.Target, "/") {
			return "", false
		}
		to := path.Join(append([]string{path.Dir(prefix), entry.Target}, elems[i+1:]...)...)
		return to, format.ValidPath(to)
	}
	return "", false
}

// Open implements fs.FS.
func (f *snapFS) Open(name string) (fs.File, error) {
	s, e, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	base := file{fsys: f, s: s, info: info{e}, name: name}
	if e.Kind == format.Dir {
		return &dirFile{file: base}, nil
	}
	return &openFile{file: base, content: s.Content(e)}, nil
}

// Stat implements fs.StatFS.
func (f *snapFS) Stat(name string) (fs.FileInfo, error) {
	_, e, err := f.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return &renamed{info{e}, path.Base(name)}, nil
}

// Lstat implements fs.ReadLinkFS.
func (f *snapFS) Lstat(name string) (fs.FileInfo, error) {
	_, e, err := f.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return &info{e}, nil
}

// ReadLink implements fs.ReadLinkFS.
func (f *snapFS) ReadLink(name string) (string, error) {
	_, e, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if e.Kind != format.Symlink {
		return "", pathError("readlink", name, fs.ErrInvalid)
	}
	return e.Target, nil
}

// ReadDir implements fs.ReadDirFS.
func (f *snapFS) ReadDir(name string) ([]fs.DirEntry, error) {
	s, e, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if e.Kind != format.Dir {
		return nil, pathError("readdir", name, errors.New("not a directory"))
	}
	var out []fs.DirEntry
	for c, err := range s.Tree().Children(f.ctx, e.Path, "") {
		if err != nil {
			return out, pathError("readdir", name, err)
		}
		kept := *c
		out = append(out, fs.FileInfoToDirEntry(&info{&kept}))
	}
	return out, nil
}

// ReadFile implements fs.ReadFileFS.
func (f *snapFS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	o, ok := file.(*openFile)
	if !ok {
		return nil, pathError("read", name, errors.New("is a directory"))
	}
	if int64(int(o.info.e.Size)) != o.info.e.Size {
		return nil, pathError("read", name, errors.New("the file is larger than memory can be"))
	}
	b := make([]byte, o.info.e.Size)
	if _, err := o.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// nameless is an *fs.PathError to errors.As whose text keeps the path, which is patient data, to itself.
type nameless struct{ fs.PathError }

func (e *nameless) Error() string { return e.Op + ": " + e.Err.Error() }
func (e *nameless) Unwrap() error { return &e.PathError }

func pathError(op, name string, err error) error {
	return &nameless{fs.PathError{Op: op, Path: name, Err: err}}
}

type file struct {
	fsys   *snapFS
	s      *engine.Snapshot
	info   info
	name   string
	closed bool
}

func (f *file) Stat() (fs.FileInfo, error) { return &renamed{f.info, path.Base(f.name)}, nil }

func (f *file) Close() error {
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

func (f *file) err(op string, err error) error {
	return pathError(op, f.name, err)
}

// openFile is an open file that is no folder.
type openFile struct {
	file
	content *tree.Reader
	pos     int64
	// ahead continues where the last Read ended, so that a long file is not looked up again for every one.
	ahead *runs
	// last is the chunk read last: small reads find the next bytes in it.
	last atomic.Pointer[chunk]
}

// runs is an iteration over a file's runs that is under way.
type runs struct {
	next func() (tree.RefAt, error, bool)
	stop func()
	cur  tree.RefAt
}

func (f *openFile) Close() error {
	f.drop()
	return f.file.Close()
}

func (f *openFile) drop() {
	if f.ahead != nil {
		f.ahead.stop()
		f.ahead = nil
	}
}

// Read implements fs.File.
func (f *openFile) Read(p []byte) (int, error) {
	if f.closed {
		return 0, f.err("read", fs.ErrClosed)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if f.pos >= f.info.e.Size {
		f.drop()
		return 0, io.EOF
	}
	for f.ahead == nil || f.ahead.cur.Offset+f.ahead.cur.Len <= f.pos {
		if f.ahead == nil {
			next, stop := iter.Pull2(f.content.Refs(f.fsys.ctx, f.pos))
			f.ahead = &runs{next: next, stop: stop}
		}
		r, err, ok := f.ahead.next()
		if err == nil && !ok {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			f.drop()
			return 0, f.err("read", err)
		}
		f.ahead.cur = r
	}
	n, err := f.copyRun(p, f.ahead.cur, f.pos)
	f.pos += int64(n)
	return n, err
}

// copyRun copies what a run has from off on.
func (f *openFile) copyRun(p []byte, r tree.RefAt, off int64) (int, error) {
	skip := off - r.Offset
	n := int(min(int64(len(p)), r.Len-skip))
	if r.Hole {
		clear(p[:n])
		return n, nil
	}
	last := f.last.Load()
	if last == nil || last.id != r.ID {
		data, err := f.s.Chunk(f.fsys.ctx, r.Ref)
		if err != nil {
			return 0, f.err("read", err)
		}
		last = &chunk{id: r.ID, data: data}
		f.last.Store(last)
	}
	return copy(p[:n], last.data[skip:]), nil
}

// chunk is a chunk that was read and verified.
type chunk struct {
	id   format.ID
	data []byte
}

// ReadAt implements io.ReaderAt.
func (f *openFile) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, f.err("read", fs.ErrInvalid)
	}
	n := 0
	if off < f.info.e.Size {
		for r, err := range f.content.Refs(f.fsys.ctx, off) {
			if err != nil {
				return n, f.err("read", err)
			}
			k, err := f.copyRun(p[n:], r, off+int64(n))
			if n += k; err != nil {
				return n, err
			}
			if n == len(p) {
				break
			}
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Seek implements io.Seeker.
func (f *openFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += f.info.e.Size
	case io.SeekStart:
	default:
		return 0, f.err("seek", fs.ErrInvalid)
	}
	if offset < 0 {
		return 0, f.err("seek", fs.ErrInvalid)
	}
	if offset != f.pos {
		f.drop()
	}
	f.pos = offset
	return offset, nil
}

// NextData returns the bounds of the next run of stored bytes at or after off; what lies before start is
// a hole. At the end of the file start is its size. It moves the read position to start.
func (f *openFile) NextData(off int64) (start, end int64, err error) {
	start, end = f.info.e.Size, f.info.e.Size
	for r, err := range f.content.Refs(f.fsys.ctx, off) {
		if err != nil {
			return 0, 0, f.err("seek", err)
		}
		if !r.Hole {
			start = max(off, r.Offset)
			end = math.MaxInt64
			break
		}
	}
	if end != f.info.e.Size {
		if end, err = f.dataEnd(start); err != nil {
			return 0, 0, err
		}
	}
	_, err = f.Seek(start, io.SeekStart)
	return start, end, err
}

// dataEnd returns where the run of data around off ends.
func (f *openFile) dataEnd(off int64) (int64, error) {
	for r, err := range f.content.Refs(f.fsys.ctx, off) {
		if err != nil {
			return 0, f.err("seek", err)
		}
		if r.Hole {
			return r.Offset, nil
		}
	}
	return f.info.e.Size, nil
}

// dirFile is an open folder.
type dirFile struct {
	file
	entries []fs.DirEntry
	read    bool
	next    int
}

func (d *dirFile) Read([]byte) (int, error) { return 0, d.err("read", errors.New("is a directory")) }

// ReadDir implements fs.ReadDirFile.
func (d *dirFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.read {
		entries, err := d.fsys.ReadDir(d.info.e.Path)
		if err != nil {
			return nil, err
		}
		d.entries, d.read = entries, true
	}
	rest := d.entries[d.next:]
	if n > 0 {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		rest = rest[:min(n, len(rest))]
	}
	d.next += len(rest)
	return slices.Clone(rest), nil
}

// info is the fs.FileInfo of an entry. Its Sys is what [AttributesOf] reads.
type info struct{ e *format.Entry }

func (i *info) Name() string { return path.Base(i.e.Path) }
func (i *info) Size() int64 {
	if i.e.Kind == format.Symlink {
		return int64(len(i.e.Target))
	}
	return i.e.Size
}
func (i *info) IsDir() bool        { return i.e.Kind == format.Dir }
func (i *info) ModTime() time.Time { return timeOf(i.e.ModTime) }
func (i *info) Sys() any           { return i.e }
func (i *info) String() string     { return fs.FormatFileInfo(i) }

func (i *info) Mode() fs.FileMode {
	m := fs.FileMode(i.e.Mode & 0o777)
	for _, b := range []struct {
		bit  uint32
		mode fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}} {
		if i.e.Mode&b.bit != 0 {
			m |= b.mode
		}
	}
	switch i.e.Kind {
	case format.Dir:
		m |= fs.ModeDir
	case format.Symlink:
		m |= fs.ModeSymlink
	case format.FIFO:
		m |= fs.ModeNamedPipe
	case format.Socket:
		m |= fs.ModeSocket
	case format.CharDevice:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case format.BlockDevice:
		m |= fs.ModeDevice
	}
	return m
}

// renamed is the info of what a link leads to, under the name that was asked for.
type renamed struct {
	info
	name string
}

func (r *renamed) Name() string { return r.name }

func timeOf(t format.Time) time.Time {
	if t == (format.Time{}) {
		return time.Time{}
	}
	return time.Unix(t.Sec, int64(t.Nsec))
}

// Attributes are what a snapshot keeps of a file beside what fs.FileInfo tells.
type Attributes struct {
	HasOwner    bool
	UID, GID    uint32
	User, Group string // empty where the system knew no name

	ChangeTime time.Time // ctime; zero where the source had none
	BirthTime  time.Time // creation; zero where the source had none
	Inode      uint64
	LinkGroup  uint64 // files of a snapshot with one LinkGroup, if it is not 0, are one file
	Device     uint64 // of a device: major<<32 | minor
	Windows    uint32 // FILE_ATTRIBUTE_* of Windows
	Xattrs     map[string][]byte
}

// AttributesOf returns what a snapshot's FileInfo holds beside its methods, and false for any other.
func AttributesOf(fi fs.FileInfo) (Attributes, bool) {
	e, ok := fi.Sys().(*format.Entry)
	if !ok || e == nil {
		return Attributes{}, false
	}
	a := Attributes{
		ChangeTime: timeOf(e.ChangeTime), BirthTime: timeOf(e.BirthTime), Inode: e.Inode,
		LinkGroup: e.LinkGroup, Device: e.Device, Windows: e.Attributes,
	}
	if o := e.Owner; o != nil {
		a.HasOwner, a.UID, a.GID, a.User, a.Group = true, o.UID, o.GID, o.User, o.Group
	}
	if len(e.Xattrs) > 0 {
		a.Xattrs = make(map[string][]byte, len(e.Xattrs))
		for _, x := range e.Xattrs {
			a.Xattrs[x.Name] = slices.Clone(x.Value)
		}
	}
	return a, true
}

// Sys is what FileInfo.Sys of a source may return so that a backup keeps these attributes. It takes the
// rest, name, size, mode and time, from fi. The target of a symbolic link comes from the source's ReadLink.
func (a Attributes) Sys(fi fs.FileInfo) (any, error) {
	e := &format.Entry{Path: fi.Name(), ChangeTime: formatTime(a.ChangeTime), BirthTime: formatTime(a.BirthTime),
		Inode: a.Inode, LinkGroup: a.LinkGroup, Device: a.Device, Attributes: a.Windows, ModTime: formatTime(fi.ModTime())}
	m := fi.Mode()
	e.Mode = uint32(m.Perm())
	switch {
	case m.IsDir():
		e.Kind = format.Dir
	case m&fs.ModeType&^fs.ModeIrregular == 0:
		e.Kind, e.Size = format.File, fi.Size()
	case m&fs.ModeNamedPipe != 0:
		e.Kind = format.FIFO
	case m&fs.ModeCharDevice != 0:
		e.Kind = format.CharDevice
	case m&fs.ModeDevice != 0:
		e.Kind = format.BlockDevice
	case m&fs.ModeSocket != 0:
		e.Kind = format.Socket
	default:
		return nil, fmt.Errorf("backup: attributes of a file of mode %v cannot be given", m.Type())
	}
	if a.HasOwner {
		e.Owner = &format.Owner{UID: a.UID, GID: a.GID, User: a.User, Group: a.Group}
	}
	names := make([]string, 0, len(a.Xattrs))
	for n := range a.Xattrs {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		e.Xattrs = append(e.Xattrs, format.Xattr{Name: n, Value: slices.Clone(a.Xattrs[n])})
	}
	return e, nil
}

func formatTime(t time.Time) format.Time {
	if t.IsZero() {
		return format.Time{}
	}
	return format.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}
