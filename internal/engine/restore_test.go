package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/chunk"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/localfs"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/internal/store"
)

// kept is a repository with one snapshot of a folder.
type kept struct {
	*testing.T
	store *faultstore.Store
	from  string // what was backed up
	repo  *engine.Repo
	snap  *engine.Snapshot
}

var smallChunks = engine.Config{Chunks: chunk.Params{Min: 256, Avg: 1 << 10, Max: 4 << 10}, PackSize: 2 << 20}

// keep backs the folder up and opens the snapshot with nothing in memory.
func keep(t *testing.T, from string, c engine.Config) *kept {
	t.Helper()
	k := &kept{T: t, store: faultstore.New(), from: from}
	c.KDF = quickKDF(t)
	r, err := engine.Create(t.Context(), k.store.Bucket(), checkKey, c)
	require.NoError(t, err)
	res, err := r.Backup(t.Context(), localfs.Source(from), engine.BackupOptions{Host: "h"})
	require.NoError(t, err)
	require.Zero(t, res.Outcome)
	k.open()
	return k
}

func (k *kept) open() {
	k.Helper()
	var err error
	k.repo, err = engine.Open(k.Context(), k.store.Bucket(), checkKey, engine.Config{
		Store: store.Options{Attempts: 2, Backoff: time.Nanosecond},
	})
	require.NoError(k, err)
	refs, _, err := k.repo.Snapshots(k.Context())
	require.NoError(k, err)
	k.snap, err = k.repo.Snapshot(k.Context(), refs[len(refs)-1])
	require.NoError(k, err)
}

// restore restores, and wants no error and everything in place.
func (k *kept) restore(to string, o engine.RestoreOptions) *engine.RestoreResult {
	k.Helper()
	res, err := k.repo.Restore(k.Context(), k.snap, to, o)
	require.NoError(k, err)
	require.Empty(k, describeProblems(res.Problems))
	require.Empty(k, describeProblems(res.Losses))
	require.True(k, res.Complete())
	return res
}

func describeProblems(list []*localfs.Problem) (out []string) {
	for _, p := range list {
		out = append(out, p.Path+": "+p.Error())
	}
	return out
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		v := r.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	return b
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, data, 0o644))
	require.NoError(t, os.Chtimes(path, old, old))
}

// folder makes n files of many sizes in some folders.
func folder(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "from")
	r := rand.New(rand.NewPCG(5, uint64(n)))
	for i := range n {
		data := randomBytes(r, []int{0, 1, 100, r.IntN(30_000), r.IntN(300_000)}[i%5])
		if i%3 == 0 {
			data = bytes.Repeat([]byte(fmt.Sprint("line ", i, "\n")), r.IntN(5000))
		}
		writeFile(t, filepath.Join(dir, fmt.Sprintf("d%d", i%7), fmt.Sprintf("e%d", i%3), fmt.Sprintf("f%d", i)), data)
	}
	return dir
}

// seen is what a test compares of an entry.
type seen struct {
	mode fs.FileMode
	time time.Time
	link string
	data string
}

func look(t *testing.T, dir string) map[string]seen {
	t.Helper()
	out := map[string]seen{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		s := seen{mode: info.Mode(), time: info.ModTime()}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			s.link, err = os.Readlink(path)
			s.mode = fs.ModeSymlink
		case info.Mode().IsRegular():
			var b []byte
			b, err = os.ReadFile(path)
			s.data = string(b)
		}
		rel, rerr := filepath.Rel(dir, path)
		out[filepath.ToSlash(rel)] = s
		return errors.Join(err, rerr)
	}))
	return out
}

// requireSame compares two folders without printing their contents.
func requireSame(t *testing.T, want, got string) {
	t.Helper()
	a, b := look(t, want), look(t, got)
	for path, w := range a {
		g, ok := b[path]
		require.True(t, ok, path)
		require.Equal(t, w.mode, g.mode, path)
		require.True(t, w.time.Equal(g.time), path)
		require.Equal(t, w.link, g.link, path)
		require.True(t, w.data == g.data, "content of %s", path)
	}
	require.Len(t, b, len(a))
}

func TestRestoreAll(t *testing.T) {
	from := folder(t, 150)
	require.NoError(t, os.Symlink("nowhere/at all", filepath.Join(from, "d1", "link")))
	require.NoError(t, os.MkdirAll(filepath.Join(from, "empty", "er"), 0o750))
	writeFile(t, filepath.Join(from, "big"), randomBytes(rand.New(rand.NewPCG(1, 1)), 5<<20))
	require.NoError(t, os.Chmod(filepath.Join(from, "d2", "e1", "f16"), 0o400))
	require.NoError(t, os.Chmod(filepath.Join(from, "d3"), 0o500))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(from, "d3"), 0o700) })
	require.NoError(t, os.Chtimes(filepath.Join(from, "d1"), old, old))
	for _, c := range []engine.Config{{}, smallChunks} {
		k := keep(t, from, c)
		to := filepath.Join(t.TempDir(), "to")
		t.Cleanup(func() { _ = os.Chmod(filepath.Join(to, "d3"), 0o700) })
		res := k.restore(to, engine.RestoreOptions{})
		requireSame(t, from, to)
		d := k.snap.Description
		require.EqualValues(t, []uint64{d.Files, d.Folders, d.Others, d.Bytes},
			[]uint64{uint64(res.Files), uint64(res.Folders), uint64(res.Others), uint64(res.Bytes)})
		require.Equal(t, res.Bytes, res.Written)
		require.Zero(t, res.Skipped)

		again := k.restore(to, engine.RestoreOptions{})
		require.Zero(t, again.Written)
		require.Equal(t, res.Files, again.Skipped)
		compared := k.restore(to, engine.RestoreOptions{FullCompare: true})
		require.Zero(t, compared.Written)
		require.Equal(t, res.Files, compared.Skipped)
		requireSame(t, from, to)
	}
}

func TestRestoreWithLittle(t *testing.T) {
	k := keep(t, folder(t, 100), engine.Config{})
	for _, o := range []engine.RestoreOptions{{Memory: 1}, {Workers: 1}, {Workers: 16, Memory: 256 << 20}} {
		to := t.TempDir()
		k.restore(to, o)
		requireSame(t, k.from, to)
	}
}

func TestRestoreChosen(t *testing.T) {
	k := keep(t, folder(t, 60), engine.Config{})
	require.NoError(t, os.Chmod(filepath.Join(k.from, "d3"), 0o711))
	to := t.TempDir()
	require.NoError(t, os.Chmod(to, 0o755))
	require.NoError(t, os.Chtimes(to, old, old))
	res, err := k.repo.Restore(t.Context(), k.snap, to, engine.RestoreOptions{
		Paths: []string{"d3/e0/f3", "d3/e0/f45", "no/such", "d4", "d4/e1", "d3/e0/f3", "../etc", "d5/e2/f5", "d5/e"},
	})
	var missing *engine.PathsError
	require.ErrorAs(t, err, &missing)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, []string{"../etc", "d5/e", "no/such"}, missing.Paths)
	require.NotContains(t, err.Error(), "such")
	require.True(t, res.Complete())

	want, got := look(t, k.from), look(t, to)
	for path := range want {
		chosen := path == "." || path == "d4" || strings.HasPrefix(path, "d4/")
		for _, p := range []string{"d3", "d3/e0", "d3/e0/f3", "d3/e0/f45", "d5", "d5/e2", "d5/e2/f5"} {
			chosen = chosen || path == p
		}
		g, ok := got[path]
		require.Equal(t, chosen, ok, path)
		if !chosen || path == "." {
			continue
		}
		require.True(t, want[path].data == g.data, path)
		require.True(t, want[path].time.Equal(g.time), path)
	}
	require.Equal(t, folderMode(0o755), got["."].mode.Perm(), "the target itself is not what was chosen")
	require.EqualValues(t, len(got)-1, res.Files+res.Folders)
	require.Equal(t, folderMode(0o755), got["d3"].mode.Perm(), "as in the snapshot")
}

// folderMode is what a folder of this mode shows: Windows has no modes of folders.
func folderMode(mode fs.FileMode) fs.FileMode {
	if runtime.GOOS == "windows" {
		return 0o777
	}
	return mode
}

// manySmall is n files of a few bytes.
func manySmall(n int) fstest.MapFS {
	m := fstest.MapFS{}
	for i := range n {
		m[fmt.Sprintf("d%d/f%d", i%7, i)] = &fstest.MapFile{Data: fmt.Append(nil, "file ", i), Mode: 0o644, ModTime: old}
	}
	return m
}

// One file out of very many costs a few requests.
func TestRestoreOneIsCheap(t *testing.T) {
	s, files := faultstore.New(), manySmall(20_000)
	r, err := engine.Create(t.Context(), s.Bucket(), checkKey, engine.Config{KDF: quickKDF(t)})
	require.NoError(t, err)
	_, err = r.Backup(t.Context(), source.FromFS(files), engine.BackupOptions{})
	require.NoError(t, err)
	k := &kept{T: t, store: s}
	k.open()
	s.Record()
	k.restore(t.TempDir(), engine.RestoreOptions{Paths: []string{"d4/f11"}})
	require.Less(t, len(s.Log()), 20)
	n := 0
	for _, o := range s.Log() {
		n += o.Bytes
	}
	require.Less(t, n, 3<<20)
}

func TestRestoreWhatDiffers(t *testing.T) {
	from := folder(t, 30)
	r := rand.New(rand.NewPCG(8, 8))
	big := randomBytes(r, 6<<20)
	for _, name := range []string{"changed", "short", "long", "touched", "hidden", "folder", "link", "same"} {
		writeFile(t, filepath.Join(from, "x", name), big)
	}
	k := keep(t, from, engine.Config{})
	to := t.TempDir()
	whole := k.restore(to, engine.RestoreOptions{})
	at := func(name string) string { return filepath.Join(to, "x", name) }
	edit := func(name string, do func(f *os.File) error) {
		f, err := os.OpenFile(at(name), os.O_RDWR, 0)
		require.NoError(t, err)
		require.NoError(t, do(f))
		require.NoError(t, f.Close())
	}
	edit("changed", func(f *os.File) error { _, err := f.WriteAt([]byte("altered"), 3<<20); return err })
	edit("short", func(f *os.File) error { return f.Truncate(4<<20 + 5) })
	edit("long", func(f *os.File) error { return f.Truncate(9 << 20) })
	require.NoError(t, os.Chtimes(at("touched"), old, old.Add(time.Hour)))
	edit("hidden", func(f *os.File) error { _, err := f.WriteAt([]byte("altered"), 5<<20); return err })
	require.NoError(t, os.Chtimes(at("hidden"), old, old))
	require.NoError(t, os.Chmod(at("same"), 0o600))
	for _, name := range []string{"folder", "link"} {
		require.NoError(t, os.Remove(at(name)))
	}
	require.NoError(t, os.Mkdir(at("folder"), 0o755))
	outside := filepath.Join(t.TempDir(), "outside")
	writeFile(t, outside, []byte("not to be touched"))
	require.NoError(t, os.Symlink(outside, at("link")))
	writeFile(t, at("more"), []byte("not of the snapshot"))

	k.open()
	k.store.Record()
	res := k.restore(to, engine.RestoreOptions{})
	const chunkMax = 1 << 20
	rest := int64(len(big) - (4<<20 + 5)) // of short
	require.GreaterOrEqual(t, res.Written, 2*int64(len(big))+rest)
	require.LessOrEqual(t, res.Written, 2*int64(len(big))+rest+2*chunkMax)
	require.Equal(t, whole.Files-5, res.Skipped, "all but changed, short, long by its size, folder and link")
	require.FileExists(t, at("more"))
	b, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "not to be touched", string(b))
	hidden, err := os.ReadFile(at("hidden"))
	require.NoError(t, err)
	require.False(t, bytes.Equal(big, hidden), "size and time told nothing")

	found := k.restore(to, engine.RestoreOptions{FullCompare: true})
	require.Positive(t, found.Written)
	require.LessOrEqual(t, found.Written, int64(chunkMax))
	require.NoError(t, os.Remove(at("more")))
	require.NoError(t, os.Chtimes(filepath.Dir(at("more")), time.Time{}, mtime(t, filepath.Join(from, "x"))))
	requireSame(t, from, to)
}

func mtime(t *testing.T, path string) time.Time {
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.ModTime()
}

func TestRestoreKeepsExisting(t *testing.T) {
	k := keep(t, folder(t, 20), engine.Config{})
	to := t.TempDir()
	mine := filepath.Join(to, "d1", "e1", "f1")
	writeFile(t, mine, []byte("mine"))
	res := k.restore(to, engine.RestoreOptions{Overwrite: localfs.KeepAll})
	require.EqualValues(t, 1, res.Kept)
	require.EqualValues(t, 19, res.Files)
	b, err := os.ReadFile(mine)
	require.NoError(t, err)
	require.Equal(t, "mine", string(b))
}

func TestRestoreHardLinks(t *testing.T) {
	from := folder(t, 50)
	data := noiseOf(3, 700_000)
	link := func(first string, names ...string) {
		writeFile(t, filepath.Join(from, first), data)
		for _, n := range names {
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(from, n)), 0o755))
			require.NoError(t, os.Link(filepath.Join(from, first), filepath.Join(from, n)))
		}
	}
	link("a/one", "a/two", "b/three", "z/four")
	for i := range 40 {
		data = noiseOf(uint64(10+i), 3000)
		link(fmt.Sprintf("l/%d-a", i), fmt.Sprintf("l/%d-b", i), fmt.Sprintf("m/%d", i))
	}
	for _, d := range []string{"a", "b", "l", "m", "z"} {
		require.NoError(t, os.Chtimes(filepath.Join(from, d), old, old))
	}
	k := keep(t, from, engine.Config{PackSize: 2 << 20})
	same := func(dir string, names ...string) {
		t.Helper()
		first, err := os.Stat(filepath.Join(dir, names[0]))
		require.NoError(t, err)
		for _, n := range names {
			other, err := os.Stat(filepath.Join(dir, n))
			require.NoError(t, err)
			require.True(t, os.SameFile(first, other), n)
		}
	}
	to := t.TempDir()
	res := k.restore(to, engine.RestoreOptions{})
	for range 2 {
		requireSame(t, from, to)
		require.EqualValues(t, 50+4+120, res.Files)
		same(to, "a/one", "a/two", "b/three", "z/four")
		for i := range 40 {
			same(to, fmt.Sprintf("l/%d-a", i), fmt.Sprintf("l/%d-b", i), fmt.Sprintf("m/%d", i))
		}
		res = k.restore(to, engine.RestoreOptions{})
	}
	part := t.TempDir()
	k.restore(part, engine.RestoreOptions{Paths: []string{"b/three", "z"}})
	same(part, "b/three", "z/four")
	b, err := os.ReadFile(filepath.Join(part, "z/four"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(b, noiseOf(3, 700_000)))

	k.store.SetHook(nil)
	for _, key := range k.packs() { // without content no name of it may be left
		k.store.Remove(key)
	}
	bad := k.unreadable()
	gone := t.TempDir()
	writeFile(t, filepath.Join(gone, "a/one"), []byte("of another time"))
	res, err = k.repo.Restore(t.Context(), k.snap, gone, engine.RestoreOptions{})
	require.NoError(t, err)
	require.True(t, bad["z/four"])
	require.NoError(t, os.Remove(filepath.Join(gone, "a/one")))
	k.requireAllBut(gone, bad, res)
}

func noiseOf(seed uint64, n int) []byte { return randomBytes(rand.New(rand.NewPCG(seed, 9)), n) }

// A file of so many chunks that its list is a tree.
func TestRestoreManyChunks(t *testing.T) {
	from := t.TempDir()
	data := noiseOf(4, 8<<20)
	copy(data[3<<20:], data[:1<<20]) // and some of them twice
	writeFile(t, filepath.Join(from, "many"), data)
	k := keep(t, from, smallChunks)
	e, err := k.snap.Tree().Lookup(t.Context(), "many")
	require.NoError(t, err)
	require.Positive(t, e.Content.Level)
	to := t.TempDir()
	k.restore(to, engine.RestoreOptions{})
	requireSame(t, from, to)
	f, err := os.OpenFile(filepath.Join(to, "many"), os.O_RDWR, 0)
	require.NoError(t, err)
	for i := range 20 {
		_, err = f.WriteAt([]byte("altered"), int64(i)*400_000+77)
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	res := k.restore(to, engine.RestoreOptions{})
	require.LessOrEqual(t, res.Written, int64(20*4<<10))
	requireSame(t, from, to)
}

func TestRestoreNeedsFolder(t *testing.T) {
	k := keep(t, folder(t, 5), engine.Config{})
	blocked := filepath.Join(t.TempDir(), "file")
	writeFile(t, blocked, nil)
	res, err := k.repo.Restore(t.Context(), k.snap, blocked, engine.RestoreOptions{})
	require.Error(t, err)
	require.NotNil(t, res)
	require.NotContains(t, err.Error(), blocked)
}
