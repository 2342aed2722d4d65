package backup_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob"
	_ "gocloud.dev/blob/gcsblob"
	_ "gocloud.dev/blob/s3blob"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/internal/practice"
	"github.com/carekeep/carekeep/internal/servertest"
)

// TestServers goes through the whole cycle against real servers of the three interfaces.
func TestServers(t *testing.T) {
	for name, start := range map[string]func(testing.TB) string{
		"S3": servertest.S3, "GCS": servertest.GCS, "Azure": servertest.Azure,
	} {
		t.Run(name, func(t *testing.T) { cycle(t, start(t)) })
	}
}

func cycle(t *testing.T, url string) {
	ctx := t.Context()
	bucket, err := blob.OpenBucket(ctx, url)
	require.NoError(t, err)
	defer bucket.Close()
	src := t.TempDir()
	o := &practice.Options{Size: 12 << 20}
	_, err = practice.Generate(ctx, src, o)
	require.NoError(t, err)

	opts := backup.Options{HostDir: t.TempDir()}
	repo, err := backup.Create(ctx, bucket, backup.Password("secret"), &backup.CreateOptions{PasswordCost: quick, Options: opts})
	require.NoError(t, err)
	first, err := repo.Backup(ctx, backup.Dir(src), nil)
	require.NoError(t, err)
	day0 := t.TempDir()
	require.NoError(t, os.CopyFS(day0, os.DirFS(src)))
	_, err = practice.LiveDay(ctx, src, 1, o)
	require.NoError(t, err)

	// The night's run has the host's credential alone.
	night, err := backup.Open(ctx, bucket, backup.Credential(), &opts)
	require.NoError(t, err)
	second, err := night.Backup(ctx, backup.Dir(src), nil)
	require.NoError(t, err)
	require.Less(t, second.Run().BytesStored, first.Run().BytesStored/2)
	same, err := night.Backup(ctx, backup.Dir(src), nil)
	require.NoError(t, err)
	require.True(t, same.Run().Unchanged)

	// Another computer knows nothing but the password.
	fresh, err := backup.Open(ctx, bucket, backup.Password("secret"), &backup.Options{Stateless: true})
	require.NoError(t, err)
	for id, want := range map[string]string{first.ID(): day0, backup.Latest: src} {
		s, err := fresh.Snapshot(ctx, id)
		require.NoError(t, err)
		to := t.TempDir()
		_, err = s.Restore(ctx, to, nil)
		require.NoError(t, err)
		sameTree(t, want, to)
	}
	rep, err := fresh.Check(ctx, &backup.CheckOptions{ReadAll: true})
	require.NoError(t, err)
	require.EqualValues(t, 3, rep.Snapshots)
	_, err = backup.Scrub(ctx, bucket, nil)
	require.NoError(t, err)

	// A pack that the server lost is found.
	it := bucket.List(&blob.ListOptions{Prefix: "p/"})
	o1, err := it.Next(ctx)
	require.NoError(t, err)
	require.NoError(t, bucket.Delete(ctx, o1.Key))
	_, err = fresh.Check(ctx, nil)
	require.ErrorIs(t, err, backup.ErrDamaged)
}

var quick = backup.PasswordCost{Passes: 1, MemoryKiB: 8 << 10, Threads: 1}

// sameTree compares names, modes, times and content of two folders.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	seen := map[string]bool{}
	require.NoError(t, filepath.WalkDir(want, func(p string, d os.DirEntry, err error) error {
		require.NoError(t, err)
		rel, err := filepath.Rel(want, p)
		require.NoError(t, err)
		seen[rel] = true
		a, err := os.Lstat(p)
		require.NoError(t, err)
		b, err := os.Lstat(filepath.Join(got, rel))
		require.NoError(t, err)
		require.Equal(t, a.Mode(), b.Mode())
		if !a.Mode().IsRegular() {
			return nil
		}
		sameFile(t, p, filepath.Join(got, rel))
		return nil
	}))
	require.NoError(t, filepath.WalkDir(got, func(p string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(got, p)
		require.True(t, seen[rel], "there is more than was backed up")
		return err
	}))
}

func sameFile(t *testing.T, a, b string) {
	t.Helper()
	fa, err := os.Open(a)
	require.NoError(t, err)
	defer fa.Close()
	fb, err := os.Open(b)
	require.NoError(t, err)
	defer fb.Close()
	ba, bb := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		na, ea := io.ReadFull(fa, ba)
		nb, eb := io.ReadFull(fb, bb)
		require.Equal(t, ba[:na], bb[:nb])
		if ea != nil || eb != nil {
			require.Equal(t, errors.Is(ea, io.EOF), errors.Is(eb, io.EOF))
			return
		}
	}
}
