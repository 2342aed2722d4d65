package dirblob

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/drivertest"
	"gocloud.dev/gcerrors"
)

func TestMain(m *testing.M) {
	if os.Getenv(racerEnv) != "" {
		os.Exit(racer())
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// refuse makes a file system that lacks the calls.
func refuse(calls ...string) func(string, string) error {
	return func(call, _ string) error {
		if slices.Contains(calls, call) {
			return syscall.EPERM // what link says on FAT
		}
		return nil
	}
}

// faultyFS is the real file system with calls that fail.
type faultyFS struct {
	osFS
	fault func(call, path string) error
}

func (f faultyFS) check(call, path string, do func() error) error {
	if f.fault != nil {
		if err := f.fault(call, path); err != nil {
			return &os.PathError{Op: call, Path: path, Err: err}
		}
	}
	return do()
}

func (f faultyFS) renameNew(from, to string) error {
	return f.check("renameNew", to, func() error { return f.osFS.renameNew(from, to) })
}

func (f faultyFS) link(from, to string) error {
	return f.check("link", to, func() error { return f.osFS.link(from, to) })
}

func (f faultyFS) mkdir(path string) error {
	return f.check("mkdir", path, func() error { return f.osFS.mkdir(path) })
}

// harness runs gocloud's conformance tests.
type harness struct {
	fs     vfs
	dir    string
	prefix string
}

func (h *harness) MakeDriver(context.Context) (driver.Bucket, error) {
	b, err := open(h.fs, h.dir, nil)
	if err != nil || h.prefix == "" {
		return b, err
	}
	return driver.NewPrefixedBucket(b, h.prefix), nil
}

func (h *harness) MakeDriverForNonexistentBucket(context.Context) (driver.Bucket, error) {
	return nil, nil // OpenBucket refuses
}

func (h *harness) HTTPClient() *http.Client         { return nil }
func (h *harness) SupportsCopy() bool               { return true }
func (h *harness) SupportsNonSlashDelimiters() bool { return true }
func (h *harness) Close()                           {}

func TestConformance(t *testing.T) {
	for name, fault := range ways() {
		t.Run(name, func(t *testing.T) { conform(t, fault, "") })
	}
	t.Run("with a prefix", func(t *testing.T) { conform(t, nil, "Some/prefix/") })
}

func conform(t *testing.T, fault func(string, string) error, prefix string) {
	t.Parallel() // most of the time goes into flushes
	drivertest.RunConformanceTests(t, func(_ context.Context, t *testing.T) (drivertest.Harness, error) {
		return &harness{fs: faultyFS{fault: fault}, dir: t.TempDir(), prefix: prefix}, nil
	}, nil)
}

// files returns the paths below the root of a bucket, unfinished writes included.
func files(t *testing.T, dir string) []string {
	t.Helper()
	out := []string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	}))
	return out
}

// openTemp opens a bucket in a new folder.
func openTemp(t *testing.T) (*blob.Bucket, string) {
	t.Helper()
	dir := t.TempDir()
	b, err := OpenBucket(dir, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b, dir
}

var plainType = &blob.WriterOptions{ContentType: defaultType}

func TestLayoutIsOnePlainFilePerKey(t *testing.T) {
	b, dir := openTemp(t)
	require.NoError(t, b.WriteAll(t.Context(), "data/ab/abcdef0123", []byte("bytes"), plainType))
	require.NoError(t, b.WriteAll(t.Context(), "Case", []byte("x"), plainType))
	require.NoError(t, b.WriteAll(t.Context(), "case", []byte("y"), plainType))
	require.ElementsMatch(t, []string{"data/ab/abcdef0123", "%43ase", "case"}, files(t, dir))
	data, err := os.ReadFile(filepath.Join(dir, "data/ab/abcdef0123"))
	require.NoError(t, err)
	require.Equal(t, "bytes", string(data))
	require.NoError(t, b.Delete(t.Context(), "data/ab/abcdef0123"))
	_, err = os.Stat(filepath.Join(dir, "data"))
	require.ErrorIs(t, err, fs.ErrNotExist, "empty folders go")
}

func TestInfo(t *testing.T) {
	b, dir := openTemp(t)
	var info *Info
	require.True(t, blob.PrefixedBucket(b, "p/").As(&info))
	require.Equal(t, &Info{Root: dir, ExclusiveCreate: true, FolderSync: true}, info)
	for name, fault := range ways() {
		d, err := open(faultyFS{fault: fault}, dir, nil)
		require.NoError(t, err)
		require.True(t, d.As(&info))
		require.Equal(t, name != "lock", info.ExclusiveCreate, name)
		require.NoError(t, d.Close())
	}
	// A file system whose rename takes the flag and then replaces is not exclusive.
	d, err := open(liarFS{}, dir, nil)
	require.NoError(t, err)
	require.Equal(t, byLink, d.able.exclusive)
	require.NoError(t, d.Close())
}

type liarFS struct{ osFS }

func (liarFS) renameNew(from, to string) error { return os.Rename(from, to) }

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	_, err := OpenBucket(filepath.Join(dir, "a", "b"), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotContains(t, err.Error(), dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	_, err = OpenBucket(filepath.Join(dir, "file"), nil)
	require.ErrorIs(t, err, errNotFolder)
	_, err = OpenBucket("", nil)
	require.Error(t, err)

	mux := new(blob.URLMux)
	mux.RegisterBucket(Scheme, &URLOpener{})
	mux.RegisterBucket("file", &URLOpener{})
	slash := "/" + strings.TrimPrefix(filepath.ToSlash(dir), "/") // before a drive too
	for _, url := range []string{"dirblob://" + slash + "/a/b?create_dir=true", "file://" + slash + "/a/b", "dirblob://localhost" + slash + "/a/b?prefix=x/"} {
		b, err := mux.OpenBucket(t.Context(), url)
		require.NoError(t, err)
		var info *Info
		require.True(t, b.As(&info))
		require.Equal(t, filepath.Join(dir, "a", "b"), info.Root)
		require.NoError(t, b.Close())
	}
	for _, url := range []string{"dirblob://nas" + slash, "dirblob://" + slash + "?no_tmp_dir=1", "dirblob://" + slash + "?create_dir=maybe", "dirblob://"} {
		_, err := mux.OpenBucket(t.Context(), url)
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), slash)
	}
}

func TestURLFolder(t *testing.T) {
	for _, c := range []struct {
		url     string
		windows bool
		want    string
	}{
		{"dirblob:///srv/backup", false, "/srv/backup"},
		{"dirblob://./backup", false, "./backup"},
		{"dirblob:///d:/backup", true, "d:/backup"},
		{"dirblob://localhost/d:/backup", true, "d:/backup"},
		{"dirblob://nas/backup", true, "//nas/backup"},
	} {
		u, err := url.Parse(c.url)
		require.NoError(t, err)
		got, err := urlFolder(u, c.windows)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}

// TestErrors checks the codes, that the path is in the *fs.PathError, and that no text of ours holds it.
func TestErrors(t *testing.T) {
	b, dir := openTemp(t)
	ctx := t.Context()
	_, err := b.ReadAll(ctx, "none/such")
	require.Equal(t, gcerrors.NotFound, gcerrors.Code(err))
	var pe *fs.PathError
	require.True(t, b.ErrorAs(err, &pe))
	require.Equal(t, filepath.Join(dir, "none", "such"), pe.Path)
	require.NotContains(t, err.Error(), dir)

	require.NoError(t, b.WriteAll(ctx, "a/b", nil, plainType))
	for key, code := range map[string]gcerrors.ErrorCode{
		"a":                      gcerrors.InvalidArgument, // a folder
		"a/b":                    gcerrors.FailedPrecondition,
		"a/b/c":                  gcerrors.InvalidArgument, // below an object
		strings.Repeat("A", 100): gcerrors.InvalidArgument,
		"":                       gcerrors.InvalidArgument,
	} {
		for _, exclusive := range []bool{true, false} {
			err = b.WriteAll(ctx, key, []byte("x"), &blob.WriterOptions{ContentType: defaultType, IfNotExist: exclusive})
			if key == "a/b" && !exclusive {
				require.NoError(t, err)
				continue
			}
			require.Equal(t, code, gcerrors.Code(err), "%q: %v", key, err)
			require.NotContains(t, err.Error(), dir)
		}
	}
	for _, key := range []string{"a", "a/b/c"} {
		require.Equal(t, gcerrors.NotFound, gcerrors.Code(b.Delete(ctx, key)), key)
		_, err = b.Attributes(ctx, key)
		require.Equal(t, gcerrors.NotFound, gcerrors.Code(err), key)
		_, err = b.NewReader(ctx, key, nil)
		require.Equal(t, gcerrors.NotFound, gcerrors.Code(err), key)
	}
	_, err = b.SignedURL(ctx, "a/b", nil)
	require.Equal(t, gcerrors.Unimplemented, gcerrors.Code(err))
	require.Equal(t, []string{"a/b"}, files(t, dir), "failures leave nothing behind")
}

func TestCopyIfNotExist(t *testing.T) {
	b, _ := openTemp(t)
	ctx := t.Context()
	require.NoError(t, b.WriteAll(ctx, "src", []byte("new"), nil))
	require.NoError(t, b.WriteAll(ctx, "dst", []byte("old"), nil))
	ask := &blob.CopyOptions{BeforeCopy: func(as func(any) bool) error {
		var o *CopyOptions
		if !as(&o) {
			return errors.New("no options")
		}
		o.IfNotExist = true
		return nil
	}}
	require.Equal(t, gcerrors.FailedPrecondition, gcerrors.Code(b.Copy(ctx, "dst", "src", ask)))
	data, err := b.ReadAll(ctx, "dst")
	require.NoError(t, err)
	require.Equal(t, "old", string(data))
	require.NoError(t, b.Copy(ctx, "dst2", "src", ask))
}
