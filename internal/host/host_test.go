package host_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/host"
	"github.com/carekeep/carekeep/internal/seal"
)

var repo = format.RepoID{1, 2, 3}

func keyset() *format.Keyset {
	return &format.Keyset{
		Suite: byte(seal.T1), Repo: repo, AdminKey: bytes.Repeat([]byte{1}, 32), FormatHash: format.Hash{2}, Dataset: bytes.Repeat([]byte{3}, 32),
		Writer: bytes.Repeat([]byte{4}, 32), Reader: bytes.Repeat([]byte{5}, 32), ReaderKey: bytes.Repeat([]byte{6}, 32), Admin: bytes.Repeat([]byte{7}, 32),
	}
}

// private is a folder whose name must be in no error.
func private(t *testing.T) string { return filepath.Join(t.TempDir(), "Jane Citizen") }

func enrol(t *testing.T) (*host.Folder, string) {
	dir := private(t)
	f, err := host.Enrol(dir, keyset())
	require.NoError(t, err)
	return f, filepath.Join(dir, hex.EncodeToString(repo[:]))
}

func requirePathless(t *testing.T, err error) {
	require.Error(t, err)
	require.NotContains(t, err.Error(), "Jane")
	require.NotContains(t, err.Error(), hex.EncodeToString(repo[:]))
}

func TestCredential(t *testing.T) {
	dir := private(t)
	_, _, err := host.Open(dir, repo)
	require.ErrorIs(t, err, fs.ErrNotExist)
	requirePathless(t, err)

	f, err := host.Enrol(dir, keyset())
	require.NoError(t, err)
	g, ks, err := host.Open(dir, repo)
	require.NoError(t, err)
	want := keyset()
	want.Reader, want.Admin = nil, nil
	require.Equal(t, want.Append(nil), ks.Append(nil), "the writer's role alone")
	require.NotEmpty(t, keyset().Admin, "the caller's keyset is as it was")

	// The folder stays readable when the same keys enrol again, and is lost when others do.
	require.NoError(t, f.Save("x", []byte("value")))
	v, ok := g.Load("x")
	require.True(t, ok)
	require.Equal(t, "value", string(v))
	f, err = host.Enrol(dir, keyset())
	require.NoError(t, err)
	_, ok = f.Load("x")
	require.True(t, ok)
	other := keyset()
	other.Writer[0]++
	f, err = host.Enrol(dir, other)
	require.NoError(t, err)
	_, ok = f.Load("x")
	require.False(t, ok)

	require.NoError(t, f.Forget())
	_, _, err = host.Open(dir, repo)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestOnlyTheOwnerReads(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a Windows folder inherits the profile's access list")
	}
	f, dir := enrol(t)
	require.NoError(t, f.Save("x", []byte("value")))
	r, err := f.NewRun("lineage", 0)
	require.NoError(t, err)
	w, err := r.Spool()
	require.NoError(t, err)
	require.NoError(t, w.Finish())
	k, err := f.Keep("lineage")
	require.NoError(t, err)
	require.NoError(t, k.Finish())
	require.NoError(t, r.End(false))
	files := 0
	require.NoError(t, filepath.WalkDir(filepath.Dir(dir), func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		fi, err := d.Info()
		require.NoError(t, err)
		if d.IsDir() {
			require.Equal(t, fs.FileMode(0o700), fi.Mode().Perm(), path)
		} else if d.Name() != "lock" { // holds nothing
			files++
			require.Equal(t, fs.FileMode(0o600), fi.Mode().Perm(), path)
		}
		return nil
	}))
	require.Equal(t, 5, files)
}

func TestDamagedCredential(t *testing.T) {
	_, dir := enrol(t)
	path := filepath.Join(dir, "credential")
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	elsewhere := bytes.Clone(good)
	elsewhere[bytes.Index(good, repo[:])] ^= 1
	for name, b := range map[string][]byte{
		"empty": {}, "no magic": good[1:], "cut in the key": good[:20], "cut": good[:len(good)-1], "longer": append(bytes.Clone(good), 0), "another repository's": elsewhere,
	} {
		require.NoError(t, os.WriteFile(path, b, 0o600))
		_, _, err := host.Open(filepath.Dir(dir), repo)
		require.ErrorContains(t, err, "damaged: open once with the password to renew it", name)
		requirePathless(t, err)
	}
	_, err = host.Enrol(filepath.Dir(dir), keyset())
	require.NoError(t, err)
	_, _, err = host.Open(filepath.Dir(dir), repo)
	require.NoError(t, err)
}

func TestSaveLoad(t *testing.T) {
	f, dir := enrol(t)
	_, ok := f.Load("a")
	require.False(t, ok)
	for _, v := range []string{"", "one", strings.Repeat("patient ", 10_000)} {
		require.NoError(t, f.Save("a", []byte(v)))
		got, ok := f.Load("a")
		require.True(t, ok)
		require.Equal(t, v, string(got))
	}
	path := filepath.Join(dir, "a")
	sealed, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "patient")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b"), sealed, 0o600))
	_, ok = f.Load("b")
	require.False(t, ok, "a value is bound to its name")
	for i := 0; i < len(sealed); i += 1 + len(sealed)/50 {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		_, ok = f.Load("a")
		require.False(t, ok, i)
	}
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 3, "no temporary file is left")

	other, err := host.Temporary(seal.T1, format.RepoID{9})
	require.NoError(t, err)
	require.NoError(t, other.Save("a", nil))
	require.NoError(t, other.Forget())
}

func TestErrorsNameNoPath(t *testing.T) {
	f, dir := enrol(t)
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.WriteFile(dir, nil, 0o600)) // a file where the folder was
	requirePathless(t, f.Save("x", nil))
	_, err := f.NewRun("l", 0)
	requirePathless(t, err)
	_, err = f.Unfinished("l")
	requirePathless(t, err)
	_, err = f.Keep("l")
	requirePathless(t, err)
	_, err = host.Enrol(filepath.Dir(dir), keyset())
	requirePathless(t, err)
	_, _, err = host.Open(filepath.Dir(dir), repo)
	requirePathless(t, err)
	p, r := f.Recall("l")
	require.Nil(t, p)
	require.Nil(t, r)
}

func TestLineage(t *testing.T) {
	f, _ := enrol(t)
	a := f.Lineage([]string{"/home/jane", "/data"})
	require.Equal(t, a, f.Lineage([]string{"/home/jane", "/data"}))
	require.NotContains(t, a, "jane")
	seen := map[string]bool{a: true}
	for _, s := range [][]string{nil, {""}, {"/home/jane/data"}, {"/home/jane"}, {"/data", "/home/jane"}} {
		require.False(t, seen[f.Lineage(s)])
		seen[f.Lineage(s)] = true
	}
	g, _ := enrol(t)
	require.NotEqual(t, a, g.Lineage([]string{"/home/jane", "/data"}), "keyed")
}

// records are n of all shapes.
func records(n int) (out []host.Record) {
	for i := range n {
		path := "patients/" + hex.EncodeToString([]byte{byte(i >> 16), byte(i >> 8), byte(i)})
		r := host.Record{Entry: format.Entry{Path: path, Kind: format.File, Mode: 0o640, ModTime: format.Time{Sec: int64(i)}}}
		ref := format.Ref{ID: format.ID{byte(i), 1}, Len: 100}
		switch i % 5 {
		case 0: // what was just read, no packs known
			r.Entry.Size, r.Entry.Content.Refs, r.Fresh = 100, []format.Ref{ref}, true
		case 1: // known packs
			r.Entry.Size, r.Entry.Content.Refs, r.Packs = 100, []format.Ref{ref}, []uint32{0, 3, uint32(i + 4)}
		case 2: // many references
			for range 200 {
				r.Refs = append(r.Refs, ref, format.Ref{Hole: true, Len: 50})
			}
			r.Entry.Size, r.Fresh = 200*150, true
		case 3: // in a side file
			r.Entry.Size, r.Side = 1<<40, uint32(i)
		case 4: // no content, and known to lie in no pack
			r.Entry.Kind, r.Packs = format.Dir, []uint32{}
		}
		out = append(out, r)
	}
	return out
}

func write(t *testing.T, w *host.RecordWriter, rs []host.Record, flushes ...int) {
	for i := range rs {
		require.NoError(t, w.Write(&rs[i]))
		for _, f := range flushes {
			if f == i {
				require.NoError(t, w.Flush())
			}
		}
	}
}

// requirePrefix reads to the end, and requires that all it reads is what was written.
func requirePrefix(t *testing.T, x *host.RecordReader, want []host.Record) (n int, end error) {
	defer x.Close()
	for {
		var r host.Record
		if err := x.Next(&r); err != nil {
			require.True(t, host.AtEnd(err))
			return n, err
		}
		require.Equal(t, want[n], r)
		n++
	}
}

func TestRecords(t *testing.T) {
	f, dir := enrol(t)
	r, err := f.NewRun("l", 0)
	require.NoError(t, err)
	for _, n := range []int{0, 1, 5, 2000} {
		w, err := r.Spool()
		require.NoError(t, err)
		rs := records(n)
		write(t, w, rs)
		require.NoError(t, w.Finish())
		x, err := r.ReadSpool()
		require.NoError(t, err)
		got, end := requirePrefix(t, x, rs)
		require.Equal(t, n, got)
		require.ErrorIs(t, end, io.EOF)
	}
	spools, err := filepath.Glob(filepath.Join(dir, "run-*", "spool"))
	require.NoError(t, err)
	b, err := os.ReadFile(spools[0])
	require.NoError(t, err)
	require.NotContains(t, string(b), "patients")
	require.NoError(t, r.End(true))
}

// A file that was cut off anywhere reads as far as it is whole, and tells that it is not.
func TestCutOffRecords(t *testing.T) {
	f, dir := enrol(t)
	r, err := f.NewRun("l", 0)
	require.NoError(t, err)
	w, err := r.Spool()
	require.NoError(t, err)
	rs := records(12)
	write(t, w, rs, 2, 3, 9)
	require.NoError(t, w.Finish())
	spools, err := filepath.Glob(filepath.Join(dir, "run-*", "spool"))
	require.NoError(t, err)
	whole, err := os.ReadFile(spools[0])
	require.NoError(t, err)
	most := map[int]bool{}
	step := 1 + len(whole)/400
	if os.Getenv("CAREKEEP_LONG") != "" {
		step = 1
	}
	for n := 0; n < len(whole); n += step {
		require.NoError(t, os.WriteFile(spools[0], whole[:n], 0o600))
		x, err := r.ReadSpool()
		require.NoError(t, err)
		got, end := requirePrefix(t, x, rs)
		require.ErrorIs(t, end, host.ErrUnfinished)
		most[got] = true
	}
	require.Equal(t, map[int]bool{0: true, 3: true, 4: true, 10: true}, most)

	bad := bytes.Clone(whole)
	bad[0] = 0xff // a length out of range
	require.NoError(t, os.WriteFile(spools[0], bad, 0o600))
	x, err := r.ReadSpool()
	require.NoError(t, err)
	got, end := requirePrefix(t, x, rs)
	require.Zero(t, got)
	require.ErrorIs(t, end, host.ErrUnfinished)
	require.NoError(t, r.End(true))
}

func TestSides(t *testing.T) {
	f, dir := enrol(t)
	r, err := f.NewRun("l", 0)
	require.NoError(t, err)
	defer r.End(true)
	var want []format.Ref
	s, err := r.NewSide(3)
	require.NoError(t, err)
	for i := range 50 {
		refs := make([]format.Ref, 1+i*20)
		for k := range refs {
			refs[k] = format.Ref{ID: format.ID{byte(i), byte(k), 1}, Len: int64(1 + k)}
		}
		require.NoError(t, s.Write(refs))
		want = append(want, refs...)
	}
	require.NoError(t, s.Finish())
	read := func(n uint32) (got []format.Ref, err error) {
		err = r.ReadSide(n, func(refs []format.Ref) error {
			got = append(got, refs...)
			return nil
		})
		return got, err
	}
	got, err := read(3)
	require.NoError(t, err)
	require.Equal(t, want, got)

	stop := errors.New("stop")
	require.ErrorIs(t, r.ReadSide(3, func([]format.Ref) error { return stop }), stop)
	sides, err := filepath.Glob(filepath.Join(dir, "run-*", "side-3"))
	require.NoError(t, err)
	b, err := os.ReadFile(sides[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(strings.TrimSuffix(sides[0], "3")+"4", b, 0o600))
	_, err = read(4)
	require.ErrorIs(t, err, host.ErrUnfinished, "bound to its number")
	require.NoError(t, os.WriteFile(sides[0], b[:len(b)-1], 0o600))
	_, err = read(3)
	require.ErrorIs(t, err, host.ErrUnfinished)

	r.RemoveSide(3)
	_, err = read(3)
	require.ErrorIs(t, err, fs.ErrNotExist)
	requirePathless(t, err)
	s, err = r.NewSide(5)
	require.NoError(t, err)
	s.Abandon()
	_, err = read(5)
	require.ErrorIs(t, err, host.ErrUnfinished)
}
