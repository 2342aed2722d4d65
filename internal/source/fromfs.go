package source

import (
	"cmp"
	"context"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carekeep/carekeep/internal/format"
)

// FromFS makes a source of any fs.FS. Links need an [fs.ReadLinkFS]; owners, extended attributes and the
// rest come from a *[format.Entry] in FileInfo.Sys, which the file system of a snapshot gives. A file that
// calls itself irregular, as those of a gocloud bucket do, is a regular file, and its time is rounded down
// to whole seconds, because listing and reading tell it with different precision. Where there are no
// permission bits at all, folders have 0700 and irregular files 0600.
//
// A folder's listing is held in memory as fs.ReadDir returns it while the folder is open; what it says of
// an entry is used by Lstat, so that a listing of a bucket is not followed by one request for every file.
// fs.Sub is never called.
//
// What fsys and its files panic with ends the backup, as a *PanicError.
func FromFS(fsys fs.FS) Source { return fsSource{fsys} }

type fsSource struct{ fsys fs.FS }

func (s fsSource) Open(ctx context.Context) (_ Folder, _ *format.Entry, err error) {
	defer recovered("open", ".", &err)
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	info, err := fs.Stat(s.fsys, ".")
	if err != nil {
		return nil, nil, problem("open", ".", err)
	}
	if !info.IsDir() {
		return nil, nil, problem("open", ".", ErrKind)
	}
	e, _ := entryOf(info)
	e.Path = "."
	return &fsFolder{fsys: s.fsys, path: "."}, e, nil
}

type fsFolder struct {
	fsys fs.FS
	path string

	mu      sync.Mutex
	listed  bool
	entries []listedName // sorted, nil until Names
}

// listedName is a name of a listing, asked for once, and what else the listing says of it.
type listedName struct {
	name string
	fs.DirEntry
}

type dirNames []listedName

func (n dirNames) Len() int        { return len(n) }
func (n dirNames) At(i int) string { return n[i].name }

func (f *fsFolder) Names(ctx context.Context) (_ Names, err error) {
	defer recovered("list", f.path, &err)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	listing, err := fs.ReadDir(f.fsys, f.path)
	if err != nil {
		return nil, problem("list", f.path, err)
	}
	entries := make([]listedName, len(listing))
	for i, d := range listing {
		entries[i] = listedName{d.Name(), d}
	}
	// fs.ReadDir sorts, but a ReadDirFS of its own may not.
	slices.SortStableFunc(entries, func(a, b listedName) int { return cmp.Compare(a.name, b.name) })
	entries = slices.CompactFunc(entries, func(a, b listedName) bool { return a.name == b.name })
	f.mu.Lock()
	f.listed, f.entries = true, entries
	f.mu.Unlock()
	return dirNames(entries), nil
}

// child returns the path of name, which fs.FS must be able to hold.
func (f *fsFolder) child(name string) (string, error) {
	if name == "." || strings.ContainsAny(name, "/\x00") || !fs.ValidPath(name) {
		return "", ErrName
	}
	if f.path == "." {
		return name, nil
	}
	return f.path + "/" + name, nil
}

// known returns what the listing said of name.
func (f *fsFolder) known(name string) (fs.DirEntry, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, ok := slices.BinarySearchFunc(f.entries, name, func(e listedName, n string) int { return cmp.Compare(e.name, n) })
	if !ok {
		return nil, false
	}
	return f.entries[i].DirEntry, true
}

func (f *fsFolder) info(name string) (fs.FileInfo, string, error) {
	path, err := f.child(name)
	if err != nil {
		return nil, "", err
	}
	var info fs.FileInfo
	if d, ok := f.known(name); ok {
		info, err = d.Info()
	} else if links, ok := f.fsys.(fs.ReadLinkFS); ok {
		info, err = links.Lstat(path)
	} else {
		info, err = fs.Stat(f.fsys, path)
	}
	return info, path, err
}

func (f *fsFolder) Lstat(name string) (_ *format.Entry, err error) {
	defer recovered("stat", name, &err)
	info, path, err := f.info(name)
	if err != nil {
		return nil, problem("stat", name, err)
	}
	e, whole := entryOf(info)
	e.Xattrs = nil
	if e.Kind != format.Symlink || whole {
		return e, nil
	}
	links, ok := f.fsys.(fs.ReadLinkFS)
	if !ok {
		return nil, problem("readlink", name, ErrLink)
	}
	if e.Target, err = links.ReadLink(path); err != nil {
		return nil, problem("readlink", name, err)
	}
	return e, nil
}

func (f *fsFolder) Xattrs(name string, e *format.Entry) (err error) {
	defer recovered("xattr", name, &err)
	info, _, err := f.info(name)
	if err != nil {
		return problem("xattr", name, err)
	}
	if full, ok := info.Sys().(*format.Entry); ok && full != nil {
		e.Xattrs = full.Xattrs
	}
	return nil
}

func (f *fsFolder) Folder(name string) (_ Folder, err error) {
	defer recovered("open", name, &err)
	info, path, err := f.info(name)
	if err == nil && !info.IsDir() {
		err = ErrKind
	}
	if err != nil {
		return nil, problem("open", name, err)
	}
	return &fsFolder{fsys: f.fsys, path: path}, nil
}

func (f *fsFolder) File(name string) (_ File, err error) {
	defer recovered("open", name, &err)
	path, err := f.child(name)
	if err != nil {
		return nil, problem("open", name, err)
	}
	// The type is looked at before opening: opening a FIFO would wait for a writer.
	if d, ok := f.known(name); ok {
		if kindOf(d.Type()) != format.File {
			err = ErrKind
		}
	} else if links, ok := f.fsys.(fs.ReadLinkFS); ok {
		var info fs.FileInfo
		if info, err = links.Lstat(path); err == nil && kindOf(info.Mode()) != format.File {
			err = ErrKind
		}
	}
	if err != nil {
		return nil, problem("open", name, err)
	}
	file, err := f.fsys.Open(path)
	if err != nil {
		return nil, problem("open", name, err)
	}
	kept := false
	defer func() {
		if !kept {
			file.Close()
		}
	}()
	info, err := file.Stat()
	if err == nil && kindOf(info.Mode()) != format.File {
		err = ErrKind
	}
	if err != nil {
		return nil, problem("open", name, err)
	}
	kept = true
	return &fsFile{File: file, name: name}, nil
}

func (f *fsFolder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries = nil
	return nil
}

type fsFile struct {
	fs.File
	name string
	pos  int64
}

func (f *fsFile) Read(p []byte) (n int, err error) {
	defer recovered("read", f.name, &err)
	n, err = read(f.File, p)
	f.pos += int64(n)
	if err != nil && err != io.EOF {
		err = problem("read", f.name, err)
	}
	return n, err
}

func (f *fsFile) Close() (err error) {
	defer recovered("close", f.name, &err)
	return problem("close", f.name, f.File.Close())
}

func (f *fsFile) Stat() (_ *format.Entry, err error) {
	defer recovered("stat", f.name, &err)
	info, err := f.File.Stat()
	if err != nil {
		return nil, problem("stat", f.name, err)
	}
	e, _ := entryOf(info)
	e.Xattrs = nil
	return e, nil
}

// NextData asks the file itself if it knows its holes, as a file of a snapshot does.
func (f *fsFile) NextData(off int64) (start, end int64, err error) {
	defer recovered("seek", f.name, &err)
	start, end = off, math.MaxInt64
	if sparse, ok := f.File.(interface {
		NextData(off int64) (start, end int64, err error)
	}); ok {
		if start, end, err = sparse.NextData(off); err != nil {
			return 0, 0, problem("seek", f.name, err)
		}
	}
	return start, end, problem("seek", f.name, f.seek(start))
}

func (f *fsFile) seek(to int64) error {
	if to == f.pos {
		return nil
	}
	if s, ok := f.File.(io.Seeker); ok {
		_, err := s.Seek(to, io.SeekStart)
		if err == nil {
			f.pos = to
		}
		return err
	}
	if to < f.pos {
		return fs.ErrInvalid
	}
	n, err := io.CopyN(io.Discard, f.File, to-f.pos)
	f.pos += n
	return err
}

// entryOf turns a FileInfo into an entry without Path and Content; whole says that it came from a
// *format.Entry and lacks nothing.
func entryOf(info fs.FileInfo) (e *format.Entry, whole bool) {
	if full, ok := info.Sys().(*format.Entry); ok && full != nil {
		e := *full
		e.Path, e.Content = "", format.Content{}
		return &e, true
	}
	m := info.Mode()
	e = &format.Entry{Kind: kindOf(m), Mode: modeBits(m)}
	t := info.ModTime()
	if m&fs.ModeIrregular != 0 {
		t = t.Truncate(time.Second)
	}
	if !t.IsZero() {
		e.ModTime = format.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
	}
	if e.Mode == 0 && e.Kind == format.Dir {
		e.Mode = 0o700
	}
	if e.Mode == 0 && m&fs.ModeIrregular != 0 {
		e.Mode = 0o600
	}
	if e.Kind == format.File {
		e.Size = info.Size()
	}
	return e, false
}

func kindOf(m fs.FileMode) format.Kind {
	switch {
	case m.IsDir():
		return format.Dir
	case m&fs.ModeSymlink != 0:
		return format.Symlink
	case m&fs.ModeNamedPipe != 0:
		return format.FIFO
	case m&fs.ModeSocket != 0:
		return format.Socket
	case m&fs.ModeCharDevice != 0:
		return format.CharDevice
	case m&fs.ModeDevice != 0:
		return format.BlockDevice
	}
	return format.File
}

func modeBits(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}
