package source_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
)

// walk lists everything: the path, the entry as Lstat gives it with its Xattrs, and the content of files.
func walk(t *testing.T, s source.Source) map[string]*format.Entry {
	t.Helper()
	root, e, err := s.Open(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, root.Close()) }()
	require.Equal(t, ".", e.Path)
	require.Equal(t, format.Dir, e.Kind)
	all := map[string]*format.Entry{".": e}
	walkFolder(t, root, "", all)
	return all
}

func walkFolder(t *testing.T, f source.Folder, prefix string, all map[string]*format.Entry) {
	names, err := f.Names(t.Context())
	require.NoError(t, err)
	for i := range names.Len() {
		name := names.At(i)
		require.True(t, i == 0 || names.At(i-1) < name, "sorted")
		e, err := f.Lstat(name)
		require.NoError(t, err, name)
		require.Empty(t, e.Path)
		require.Nil(t, e.Xattrs)
		require.NoError(t, f.Xattrs(name, e))
		all[path.Join(prefix, name)] = e
		switch e.Kind {
		case format.Dir:
			sub, err := f.Folder(name)
			require.NoError(t, err)
			walkFolder(t, sub, path.Join(prefix, name), all)
			require.NoError(t, sub.Close())
			_, err = f.File(name)
			require.ErrorIs(t, err, source.ErrKind)
		case format.File:
			_, err := f.Folder(name)
			require.ErrorIs(t, err, source.ErrKind)
			e.Target = content(t, f, name) // a free field for the test
		}
	}
}

func content(t *testing.T, f source.Folder, name string) string {
	file, err := f.File(name)
	require.NoError(t, err)
	start, end, err := file.NextData(0)
	require.NoError(t, err)
	require.Zero(t, start)
	require.Equal(t, int64(math.MaxInt64), end)
	b, err := io.ReadAll(file)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	return string(b)
}

func TestFromFS(t *testing.T) {
	when := time.Unix(1_700_000_000, 5)
	all := walk(t, source.FromFS(fstest.MapFS{
		"a/b":  {Data: []byte("content"), Mode: 0o640 | fs.ModeSetuid, ModTime: when},
		"a.x":  {Data: []byte("before a/b in bytes"), Mode: 0o600},
		"link": {Data: []byte("a/b"), Mode: fs.ModeSymlink | 0o777},
		"pipe": {Mode: fs.ModeNamedPipe | 0o600},
		"odd":  {Data: []byte("irregular"), Mode: fs.ModeIrregular, ModTime: when},
	}))
	require.Len(t, all, 7)
	require.Equal(t, &format.Entry{Kind: format.File, Mode: 0o4640, Size: 7, Target: "content", ModTime: format.Time{Sec: 1_700_000_000, Nsec: 5}}, all["a/b"])
	require.Equal(t, format.Symlink, all["link"].Kind)
	require.Equal(t, "a/b", all["link"].Target)
	require.Equal(t, format.FIFO, all["pipe"].Kind)
	require.Equal(t, &format.Entry{Kind: format.File, Mode: 0o600, Size: 9, Target: "irregular", ModTime: format.Time{Sec: 1_700_000_000}}, all["odd"])
	require.Equal(t, uint32(0o555), all["a"].Mode) // what MapFS says of a folder that it makes up
	require.Zero(t, all["a.x"].ModTime)
}

// TestBucket: the files of a bucket are irregular and have no permissions; none may be missed.
func TestBucket(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	bucket.SetIOFSCallback(func() (context.Context, *blob.ReaderOptions) { return t.Context(), nil })
	for _, key := range []string{"scans/2026/a.dcm", "scans/b.dcm", "c"} {
		require.NoError(t, bucket.WriteAll(t.Context(), key, []byte(key), nil))
	}
	all := walk(t, source.FromFS(bucket))
	require.Len(t, all, 6)
	for _, key := range []string{"scans/2026/a.dcm", "scans/b.dcm", "c"} {
		e := all[key]
		require.Equal(t, format.File, e.Kind)
		require.Equal(t, uint32(0o600), e.Mode)
		require.Equal(t, int64(len(key)), e.Size)
		require.Equal(t, key, e.Target)
		require.NotZero(t, e.ModTime)
		require.Zero(t, e.ModTime.Nsec)
	}
	require.Equal(t, uint32(0o700), all["scans/2026"].Mode)
	// It still is open.
	_, err := bucket.ReadAll(t.Context(), "c")
	require.NoError(t, err)
}

func TestDirFSNeverFollows(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/real", []byte("x"), 0o600))
	if err := os.Symlink("real", dir+"/link"); err != nil {
		t.Skip("no links here: ", err)
	}
	root, _, err := source.FromFS(os.DirFS(dir)).Open(t.Context())
	require.NoError(t, err)
	for range 2 { // without and with a listing
		_, err = root.File("link")
		require.ErrorIs(t, err, source.ErrKind)
		e, err := root.Lstat("link")
		require.NoError(t, err)
		require.Equal(t, "real", e.Target)
		_, err = root.Names(t.Context())
		require.NoError(t, err)
	}
}

// oddFS gives whatever names and infos a test wants.
type oddFS struct {
	fstest.MapFS
	names []string
	sys   map[string]*format.Entry
}

func (o oddFS) ReadDir(name string) ([]fs.DirEntry, error) {
	var all []fs.DirEntry
	for _, n := range o.names {
		all = append(all, oddEntry{n, o.sys[n]})
	}
	return all, nil
}

type oddEntry struct {
	name string
	sys  *format.Entry
}

func (e oddEntry) Name() string               { return e.name }
func (e oddEntry) IsDir() bool                { return false }
func (e oddEntry) Type() fs.FileMode          { return 0 }
func (e oddEntry) Info() (fs.FileInfo, error) { return e, nil }
func (e oddEntry) Size() int64                { return 1 }
func (e oddEntry) Mode() fs.FileMode          { return 0o600 }
func (e oddEntry) ModTime() time.Time         { return time.Unix(1, 0) }
func (e oddEntry) Sys() any                   { return e.sys }

func TestOddNames(t *testing.T) {
	bad := []string{"", ".", "..", "a/b", "nul\x00", "\xff latin"}
	o := oddFS{MapFS: fstest.MapFS{"z": {Data: []byte("z")}, "m": {}}, names: append([]string{"z", "m", "z"}, bad...)}
	root, _, err := source.FromFS(o).Open(t.Context())
	require.NoError(t, err)
	names, err := root.Names(t.Context())
	require.NoError(t, err)
	require.Equal(t, len(bad)+2, names.Len(), "a name given twice is one")
	require.Equal(t, "z", names.At(names.Len()-2))
	for _, name := range bad {
		_, err := root.Lstat(name)
		require.ErrorIs(t, err, source.ErrName, "%q", name)
		_, err = root.File(name)
		require.ErrorIs(t, err, source.ErrName, "%q", name)
		var p *source.Problem
		require.ErrorAs(t, err, &p)
		require.Equal(t, name, p.Path)
	}
	_, err = root.Lstat("z")
	require.NoError(t, err)
}

// TestSnapshotEntry: what our own file system knows of an entry is taken whole.
func TestSnapshotEntry(t *testing.T) {
	full := &format.Entry{Path: "x/y", Kind: format.Symlink, Mode: 0o777, Target: "t", Inode: 5, LinkGroup: 6, ChangeTime: format.Time{Sec: 7},
		Owner: &format.Owner{UID: 8, User: "u"}, Xattrs: []format.Xattr{{Name: "user.x", Value: []byte("v")}}, Content: format.Content{Refs: []format.Ref{{Len: 1}}}}
	o := oddFS{MapFS: fstest.MapFS{"y": {}}, names: []string{"y"}, sys: map[string]*format.Entry{"y": full}}
	root, _, err := source.FromFS(o).Open(t.Context())
	require.NoError(t, err)
	_, err = root.Names(t.Context())
	require.NoError(t, err)
	e, err := root.Lstat("y")
	require.NoError(t, err)
	want := *full
	want.Path, want.Xattrs, want.Content = "", nil, format.Content{}
	require.Equal(t, &want, e)
	require.NoError(t, root.Xattrs("y", e))
	require.Equal(t, full.Xattrs, e.Xattrs)
	require.Equal(t, "x/y", full.Path, "the file system's own entry is not changed")
}

// leaky fails with names in its texts, as real file systems do.
type leaky struct{ fs.FS }

func (leaky) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("blob (key \"Meyer-Anna\"): broken")}
}

func TestErrorsHoldNoNames(t *testing.T) {
	_, _, err := source.FromFS(leaky{}).Open(t.Context())
	require.Error(t, err)
	require.NotContains(t, err.Error(), "Meyer")
	_, _, err = source.FromFS(os.DirFS("/there is no such Meyer")).Open(t.Context())
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotContains(t, err.Error(), "Meyer")
	root, _, err := source.FromFS(fstest.MapFS{}).Open(t.Context())
	require.NoError(t, err)
	_, err = root.File("Meyer")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotContains(t, err.Error(), "Meyer")
}

func TestSeekInFS(t *testing.T) {
	root, _, err := source.FromFS(fstest.MapFS{"f": {Data: []byte("0123456789")}}).Open(t.Context())
	require.NoError(t, err)
	f, err := root.File("f")
	require.NoError(t, err)
	for _, off := range []int64{4, 2, 2} {
		start, _, err := f.NextData(off)
		require.NoError(t, err)
		require.Equal(t, off, start)
		b := make([]byte, 3)
		_, err = io.ReadFull(f, b)
		require.NoError(t, err)
		require.Equal(t, "0123456789"[off:off+3], string(b))
	}
}

func TestStream(t *testing.T) {
	s := source.Stream("dump.sql", strings.NewReader("a dump"))
	root, _, err := s.Open(t.Context())
	require.NoError(t, err)
	e, err := root.Lstat("dump.sql")
	require.NoError(t, err)
	require.Equal(t, int64(-1), e.Size)
	f, err := root.File("dump.sql")
	require.NoError(t, err)
	_, _, err = f.NextData(2)
	require.NoError(t, err)
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "dump", string(b))
	_, _, err = f.NextData(0)
	require.ErrorIs(t, err, source.ErrUsed)
	e, err = f.Stat()
	require.NoError(t, err)
	require.Equal(t, int64(6), e.Size)
	_, err = root.File("dump.sql")
	require.ErrorIs(t, err, source.ErrUsed)
	_, err = root.File("other")
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, bad := range []string{"", ".", "..", "a/b", "/", "\x00"} {
		_, _, err := source.Stream(bad, nil).Open(t.Context())
		require.ErrorIs(t, err, source.ErrName)
	}
}

// linked has one file with the same link group as that of any other linked.
func linked() source.Source {
	e := &format.Entry{Kind: format.File, Mode: 0o600, Size: 1, LinkGroup: 1<<48 | 77}
	return source.FromFS(oddFS{MapFS: fstest.MapFS{"one": {Data: []byte("1")}, "two": {Data: []byte("1")}}, names: []string{"one", "two"},
		sys: map[string]*format.Entry{"one": e, "two": e}})
}

func TestGroup(t *testing.T) {
	g := source.Group(
		source.Named{Name: "files/scans", Source: source.FromFS(fstest.MapFS{"a/b": {Data: []byte("scan")}})},
		source.Named{Name: "db", Source: source.Stream("dump", strings.NewReader("rows"))},
		source.Named{Name: "files/left", Source: linked()},
		source.Named{Name: "right", Source: linked()},
	)
	all := walk(t, g)
	require.Len(t, all, 13)
	require.Equal(t, "scan", all["files/scans/a/b"].Target)
	require.Equal(t, "rows", all["db/dump"].Target)
	require.Equal(t, format.Dir, all["files"].Kind)
	require.Equal(t, all["right/one"].LinkGroup, all["right/two"].LinkGroup)
	require.Equal(t, all["files/left/one"].LinkGroup, all["files/left/two"].LinkGroup)
	require.NotZero(t, all["right/one"].LinkGroup)
	require.NotEqual(t, all["right/one"].LinkGroup, all["files/left/one"].LinkGroup)

	empty := source.FromFS(fstest.MapFS{})
	for _, c := range []struct {
		names []string
		want  error
	}{
		{[]string{"a", "a"}, source.ErrNames},
		{[]string{"a", "a/b"}, source.ErrNames},
		{[]string{"a/b", "a"}, source.ErrNames},
		{[]string{"a/b", "a/c", "a/b"}, source.ErrNames},
		{[]string{""}, source.ErrName},
		{[]string{"."}, source.ErrName},
		{[]string{"../a"}, source.ErrName},
		{[]string{"/a"}, source.ErrName},
		{[]string{"a//b"}, source.ErrName},
		{[]string{"a\x00"}, source.ErrName},
	} {
		var named []source.Named
		for _, n := range c.names {
			named = append(named, source.Named{Name: n, Source: empty})
		}
		_, _, err := source.Group(named...).Open(t.Context())
		require.ErrorIs(t, err, c.want, "%q", c.names)
	}
	_, _, err := source.Group(source.Named{Name: "a", Source: empty}, source.Named{Name: "b", Source: source.FromFS(os.DirFS("/no such folder"))}).Open(t.Context())
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, _, err = source.Group(source.Named{Name: "a"}).Open(t.Context())
	require.ErrorIs(t, err, source.ErrName)
	require.Len(t, walk(t, source.Group()), 1)
}
