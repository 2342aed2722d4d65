package source

import (
	"context"
	"hash/fnv"
	"io"
	"io/fs"
	"math"
	"slices"
	"sort"
	"strings"
	"sync/atomic"

	"github.com/carekeep/carekeep/internal/format"
)

// Stream makes a source of one file that is read from r, such as the output of a dump. Its length is not
// known before it is read: its entry's Size is -1 until the end was reached, and the bytes read from then
// on. The entry has mode 0600 and no times. It can be read once. r is not closed. A panic of r's ends the backup.
func Stream(name string, r io.Reader) Source { return &stream{name: name, r: r} }

// Again reports whether a source can be opened once more and gives the same. A stream cannot.
func Again(s Source) bool {
	switch s := s.(type) {
	case *stream:
		return false
	case group:
		for _, n := range s {
			if !Again(n.Source) {
				return false
			}
		}
	}
	return true
}

type stream struct {
	name string
	r    io.Reader
	used atomic.Bool
	size atomic.Int64 // length+1 once the end was reached
}

func (s *stream) Open(ctx context.Context) (Folder, *format.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if !validName(s.name) {
		return nil, nil, problem("open", s.name, ErrName)
	}
	return s, &format.Entry{Path: ".", Kind: format.Dir, Mode: 0o700}, nil
}

func (s *stream) entry() *format.Entry {
	return &format.Entry{Kind: format.File, Mode: 0o600, Size: s.size.Load() - 1}
}

type nameList []string

func (n nameList) Len() int        { return len(n) }
func (n nameList) At(i int) string { return n[i] }

func (s *stream) Names(context.Context) (Names, error) { return nameList{s.name}, nil }

func (s *stream) Lstat(name string) (*format.Entry, error) {
	if name != s.name {
		return nil, missing("stat", name)
	}
	return s.entry(), nil
}

func (s *stream) Xattrs(string, *format.Entry) error { return nil }

func (s *stream) Folder(name string) (Folder, error) {
	if name != s.name {
		return nil, missing("open", name)
	}
	return nil, problem("open", name, ErrKind)
}

func (s *stream) File(name string) (File, error) {
	if name != s.name {
		return nil, missing("open", name)
	}
	if s.used.Swap(true) {
		return nil, problem("open", name, ErrUsed)
	}
	return &streamFile{s: s}, nil
}

func (s *stream) Close() error { return nil }

type streamFile struct {
	s   *stream
	pos int64
}

func (f *streamFile) Read(p []byte) (n int, err error) {
	defer recovered("read", f.s.name, &err)
	n, err = read(f.s.r, p)
	f.pos += int64(n)
	if err == io.EOF {
		f.s.size.Store(f.pos + 1)
		return n, err
	}
	return n, problem("read", f.s.name, err)
}

func (f *streamFile) Close() error                 { return nil }
func (f *streamFile) Stat() (*format.Entry, error) { return f.s.entry(), nil }

func (f *streamFile) NextData(off int64) (start, end int64, err error) {
	if off < f.pos {
		return 0, 0, problem("seek", f.s.name, ErrUsed)
	}
	if _, err := io.CopyN(io.Discard, f, off-f.pos); err != nil {
		return 0, 0, problem("seek", f.s.name, err)
	}
	return off, math.MaxInt64, nil
}

// Named is one source of a group.
type Named struct {
	Name   string // where the source is mounted: one name, or several with slashes between them
	Source Source
}

// Group makes one source of several, each mounted at its name; folders between are made up. All are opened
// by Open, so that one which is missing is an error at the start, wrapping fs.ErrNotExist. Names that are
// not valid, equal, or inside one another are errors of Open. LinkGroup numbers are changed so that those
// of different sources do not meet.
func Group(sources ...Named) Source { return group(slices.Clone(sources)) }

type group []Named

func (g group) Open(ctx context.Context) (Folder, *format.Entry, error) {
	root := &groupFolder{}
	for _, n := range g {
		if err := root.mount(ctx, n); err != nil {
			root.Close()
			return nil, nil, err
		}
	}
	root.sort()
	return root, root.entry(), nil
}

// groupFolder is a folder that exists only here; its children are others like it and mounted sources.
type groupFolder struct {
	names    []string
	children map[string]groupChild
}

type groupChild struct {
	made    *groupFolder  // a folder made up, or
	mounted *mountFolder  // the root of a source
	root    *format.Entry // its entry
}

func (g *groupFolder) mount(ctx context.Context, n Named) error {
	if n.Source == nil || n.Name == "." || !format.ValidPath(n.Name) {
		return problem("group", n.Name, ErrName)
	}
	for rest := n.Name; ; {
		name, after, more := strings.Cut(rest, "/")
		child, taken := g.children[name]
		if !more && taken || more && taken && child.made == nil {
			return problem("group", n.Name, ErrNames)
		}
		if !more {
			return g.add(ctx, name, n)
		}
		if !taken {
			child = groupChild{made: &groupFolder{}}
			g.put(name, child)
		}
		g, rest = child.made, after
	}
}

func (g *groupFolder) add(ctx context.Context, name string, n Named) error {
	folder, e, err := n.Source.Open(ctx)
	if err != nil {
		return problem("open", n.Name, err)
	}
	h := fnv.New64a()
	io.WriteString(h, n.Name)
	root := *e
	root.Path = ""
	g.put(name, groupChild{mounted: &mountFolder{inner: folder, key: h.Sum64()}, root: &root})
	return nil
}

func (g *groupFolder) put(name string, c groupChild) {
	if g.children == nil {
		g.children = map[string]groupChild{}
	}
	g.children[name] = c
	g.names = append(g.names, name)
}

func (g *groupFolder) sort() {
	sort.Strings(g.names)
	for _, c := range g.children {
		if c.made != nil {
			c.made.sort()
		}
	}
}

func (g *groupFolder) entry() *format.Entry {
	return &format.Entry{Path: ".", Kind: format.Dir, Mode: 0o700}
}

func (g *groupFolder) Names(context.Context) (Names, error) { return nameList(g.names), nil }

func (g *groupFolder) Lstat(name string) (*format.Entry, error) {
	c, ok := g.children[name]
	switch {
	case !ok:
		return nil, missing("stat", name)
	case c.made != nil:
		e := c.made.entry()
		e.Path = ""
		return e, nil
	}
	e := *c.root
	e.Xattrs = nil
	return &e, nil
}

func (g *groupFolder) Xattrs(name string, e *format.Entry) error {
	if c, ok := g.children[name]; ok && c.root != nil {
		e.Xattrs = c.root.Xattrs
	}
	return nil
}

func (g *groupFolder) Folder(name string) (Folder, error) {
	c, ok := g.children[name]
	switch {
	case !ok:
		return nil, missing("open", name)
	case c.made != nil:
		return keptOpen{c.made}, nil
	}
	return keptOpen{c.mounted}, nil
}

func (g *groupFolder) File(name string) (File, error) {
	if _, ok := g.children[name]; !ok {
		return nil, missing("open", name)
	}
	return nil, problem("open", name, ErrKind)
}

// Close closes every source of the group.
func (g *groupFolder) Close() error {
	var first error
	for _, c := range g.children {
		var err error
		if c.made != nil {
			err = c.made.Close()
		} else {
			err = c.mounted.Close()
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// keptOpen is a folder that the group's root closes.
type keptOpen struct{ inner }

// inner is Folder under another name, so that embedding it does not hide the method Folder.
type inner = Folder

func (keptOpen) Close() error { return nil }

// mountFolder is a folder of a mounted source, whose link groups it changes by its key.
type mountFolder struct {
	inner
	key uint64
}

func (m *mountFolder) Lstat(name string) (*format.Entry, error) {
	e, err := m.inner.Lstat(name)
	m.relink(e)
	return e, err
}

func (m *mountFolder) Folder(name string) (Folder, error) {
	sub, err := m.inner.Folder(name)
	if err != nil {
		return nil, err
	}
	return &mountFolder{inner: sub, key: m.key}, nil
}

func (m *mountFolder) File(name string) (File, error) {
	f, err := m.inner.File(name)
	if err != nil {
		return nil, err
	}
	return mountFile{f, m}, nil
}

type mountFile struct {
	File
	m *mountFolder
}

func (f mountFile) Stat() (*format.Entry, error) {
	e, err := f.File.Stat()
	f.m.relink(e)
	return e, err
}

// relink spreads the numbers of one source over all 64 bits, one to one, so that numbers of two sources
// meet no more often than random ones.
func (m *mountFolder) relink(e *format.Entry) {
	if e == nil || e.LinkGroup == 0 {
		return
	}
	v := e.LinkGroup ^ m.key
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	e.LinkGroup = max(v^v>>31, 1)
}

func validName(name string) bool {
	return format.ValidPath(name) && name != "." && !strings.Contains(name, "/")
}

func missing(op, name string) error {
	if !validName(name) {
		return problem(op, name, ErrName)
	}
	return problem(op, name, fs.ErrNotExist)
}
