package backup_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/rotation"
)

var errPanicked = errors.New("index out of range in Smith.xml")

// panicky is a file system whose code has a mistake in one of its methods.
type panicky struct {
	fstest.MapFS
	in string
}

func (p panicky) do(method string) {
	if p.in == method {
		panic(errPanicked)
	}
}

func (p panicky) Open(name string) (fs.File, error) {
	p.do("Open")
	f, err := p.MapFS.Open(name)
	return panickyFile{f, p}, err
}

func (p panicky) Stat(name string) (fs.FileInfo, error) {
	p.do("Stat")
	return p.MapFS.Stat(name)
}

func (p panicky) ReadDir(name string) ([]fs.DirEntry, error) {
	p.do("ReadDir")
	entries, err := p.MapFS.ReadDir(name)
	for i := range entries {
		entries[i] = panickyEntry{entries[i], p}
	}
	return entries, err
}

func (p panicky) ReadLink(name string) (string, error) {
	p.do("ReadLink")
	return p.MapFS.ReadLink(name)
}

func (p panicky) Lstat(name string) (fs.FileInfo, error) {
	p.do("Lstat")
	return p.MapFS.Lstat(name)
}

type panickyEntry struct {
	fs.DirEntry
	p panicky
}

func (e panickyEntry) Name() string {
	e.p.do("DirEntry.Name")
	return e.DirEntry.Name()
}

func (e panickyEntry) Type() fs.FileMode {
	e.p.do("DirEntry.Type")
	return e.DirEntry.Type()
}

func (e panickyEntry) Info() (fs.FileInfo, error) {
	e.p.do("DirEntry.Info")
	i, err := e.DirEntry.Info()
	return panickyInfo{i, e.p}, err
}

type panickyInfo struct {
	fs.FileInfo
	p panicky
}

func (i panickyInfo) ModTime() time.Time {
	i.p.do("FileInfo.ModTime")
	return i.FileInfo.ModTime()
}

type panickyFile struct {
	fs.File
	p panicky
}

func (f panickyFile) Stat() (fs.FileInfo, error) {
	f.p.do("File.Stat")
	return f.File.Stat()
}

func (f panickyFile) Read(b []byte) (int, error) {
	f.p.do("File.Read")
	return f.File.Read(b)
}

func (f panickyFile) Close() error {
	f.p.do("File.Close")
	return f.File.Close()
}

// bare hides all methods of an fs.FS but Open.
type bare struct{ fs.FS }

func requirePanic(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, backup.ErrPanic)
	require.ErrorIs(t, err, errPanicked)
	require.NotErrorIs(t, err, backup.ErrIncomplete)
	require.NotContains(t, err.Error(), "Smith")
	var p *backup.PanicError
	require.ErrorAs(t, err, &p)
	require.Equal(t, errPanicked, p.Value)
	require.Contains(t, string(p.Stack), "panic_test.go")
}

// TestPanicOfAFileSystem: a mistake in the caller's code ends the backup and not the process.
func TestPanicOfAFileSystem(t *testing.T) {
	r := create(t, memory(t), nil)
	for _, in := range []string{
		"Open", "Stat", "ReadDir", "ReadLink", "DirEntry.Name", "DirEntry.Type", "DirEntry.Info", "FileInfo.ModTime",
		"File.Stat", "File.Read", "File.Close",
	} {
		t.Run(in, func(t *testing.T) {
			snap, err := r.Backup(t.Context(), panicky{files, in}, nil)
			requirePanic(t, err)
			require.Nil(t, snap)
			_, err = r.Backup(t.Context(), backup.Group(map[string]fs.FS{"docs": panicky{files, in}}), nil)
			requirePanic(t, err)
		})
	}
	for _, in := range []string{"Open", "File.Stat", "File.Close"} {
		_, err := r.Backup(t.Context(), bare{panicky{files, in}}, nil)
		requirePanic(t, err)
	}
	_, err := r.Backup(t.Context(), panicky{files, "nowhere"}, nil)
	require.NoError(t, err)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestPanicOfAStream(t *testing.T) {
	r := create(t, memory(t), nil)
	_, err := r.Backup(t.Context(), backup.Stream("dump.sql", readerFunc(func([]byte) (int, error) { panic(errPanicked) })), nil)
	requirePanic(t, err)
	for _, count := range []int{-1, 1 << 30} { // of which the second is more than any buffer has
		_, err := r.Backup(t.Context(), backup.Stream("dump.sql", readerFunc(func([]byte) (int, error) { return count, io.EOF })), nil)
		require.ErrorIs(t, err, backup.ErrPanic)
	}
}

// TestPanicOfProgress: an operation ends with it, but what is committed is.
func TestPanicOfProgress(t *testing.T) {
	atEnd := false
	r := create(t, memory(t), &backup.CreateOptions{Options: backup.Options{HostDir: t.TempDir(), Progress: func(p backup.Progress) {
		if p.Done == atEnd {
			panic(errPanicked)
		}
	}}})
	// It would never end by itself.
	_, err := r.Backup(t.Context(), backup.Stream("dump.sql", readerFunc(func(p []byte) (int, error) {
		time.Sleep(time.Millisecond)
		return min(len(p), 1), nil
	})), nil)
	requirePanic(t, err)
	atEnd = true
	snap, err := r.Backup(t.Context(), files, nil)
	require.NoError(t, err)
	require.NotNil(t, snap)
}

type panickyService struct{}

func (panickyService) Encrypt(_, _ []byte) ([]byte, error) { panic(errPanicked) }
func (panickyService) Decrypt(_, _ []byte) ([]byte, error) { panic(errPanicked) }

func TestPanicOfAKeyService(t *testing.T) {
	_, err := backup.Create(t.Context(), memory(t), backup.KMS("kms", panickyService{}), &backup.CreateOptions{Options: backup.Options{Stateless: true}})
	requirePanic(t, err)
}

func TestPanicOfACatalogue(t *testing.T) {
	s := newSurgery(t)
	s.night()
	_, err := s.repo.Catalogue(t.Context(), &backup.CatalogueOptions{Point: func(*backup.Snapshot, *rotation.Point) { panic(errPanicked) }})
	requirePanic(t, err)
}

func TestPanicOfLockedUntil(t *testing.T) {
	s := newSurgery(t)
	for range 3 {
		s.night()
	}
	s.apply(keep(1))
	_, err := s.repo.Compact(t.Context(), nil)
	require.NoError(t, err)
	s.set(s.clock.Load().Add(time.Hour))
	_, err = s.repo.Compact(t.Context(), &backup.CompactOptions{Grace: 1, LockedUntil: func(context.Context, string) (time.Time, error) { panic(errPanicked) }})
	requirePanic(t, err)
}
