//go:build unix

package engine_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/localfs"
)

// BenchmarkRestore restores the folder that CAREKEEP_BENCH_DATA names. The repository is kept in
// CAREKEEP_BENCH_REPO, if that is set, for the next time; CAREKEEP_BENCH_TARGET is where restores go and stay.
func BenchmarkRestore(b *testing.B) {
	data := os.Getenv("CAREKEEP_BENCH_DATA")
	if data == "" {
		b.Skip("CAREKEEP_BENCH_DATA names no folder")
	}
	ctx := context.Background()
	repo := os.Getenv("CAREKEEP_BENCH_REPO")
	if repo == "" {
		repo = b.TempDir()
	}
	bucket, err := dirblob.OpenBucket(repo, &dirblob.Options{CreateDir: true})
	require.NoError(b, err)
	defer bucket.Close()
	key := engine.Key{Password: []byte("secret")}
	if _, err := engine.Open(ctx, bucket, key, engine.Config{}); err != nil {
		r, err := engine.Create(ctx, bucket, key, engine.Config{KDF: quickKDF(b)})
		require.NoError(b, err)
		began := time.Now()
		_, err = r.Backup(ctx, localfs.Source(data), engine.BackupOptions{Host: "h", Sources: []string{"s"}})
		require.NoError(b, err)
		b.Logf("backup took %v", time.Since(began))
	}
	target := os.Getenv("CAREKEEP_BENCH_TARGET")
	if target == "" {
		target = b.TempDir()
	}
	for b.Loop() {
		b.StopTimer()
		r, err := engine.Open(ctx, bucket, key, engine.Config{})
		require.NoError(b, err)
		refs, _, err := r.Snapshots(ctx)
		require.NoError(b, err)
		s, err := r.Snapshot(ctx, refs[0])
		require.NoError(b, err)
		// A new folder each time, and none removed in between: ext4 is slow to make files where many were just deleted.
		dir, err := os.MkdirTemp(target, "")
		require.NoError(b, err)
		cpu := cpuTime()
		b.StartTimer()
		res, err := r.Restore(ctx, s, dir, engine.RestoreOptions{})
		b.StopTimer()
		require.NoError(b, err)
		require.True(b, res.Complete(), fmt.Sprint(res))
		b.SetBytes(res.Bytes)
		b.ReportMetric((cpuTime() - cpu).Seconds(), "cpu-s/op")
		b.ReportMetric(float64(res.Files), "files/op")
		b.StartTimer()
	}
}
