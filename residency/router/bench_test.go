package router_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/practice"
	"github.com/carekeep/carekeep/residency/router"
)

// BenchmarkColdBackup compares a cold backup that is routed to three folders with one to a single folder followed by a
// plain copy of what it stored to two others: what the same copies cost without a router.
//
//	go test -run - -bench ColdBackup -benchtime 5x ./residency/router
func BenchmarkColdBackup(b *testing.B) {
	ctx := context.Background()
	src := b.TempDir()
	_, err := practice.Generate(ctx, src, &practice.Options{Size: 256 << 20})
	require.NoError(b, err)
	cold := func(bucket *blob.Bucket) {
		repo, err := backup.Create(ctx, bucket, backup.Password("secret"), &backup.CreateOptions{PasswordCost: quick, Options: backup.Options{HostDir: b.TempDir()}})
		require.NoError(b, err)
		_, err = repo.Backup(ctx, backup.Dir(src), nil)
		require.NoError(b, err)
		require.NoError(b, repo.Close())
	}
	var routed, plain, alone time.Duration
	for b.Loop() {
		one := folder(b)
		begun := time.Now()
		cold(one)
		alone += time.Since(begun)
		for range 2 {
			copyAll(b, one, folder(b))
		}
		plain += time.Since(begun)

		sites := []router.Site{{Name: "a", Bucket: folder(b)}, {Name: "b", Bucket: folder(b)}, {Name: "c", Bucket: folder(b)}}
		begun = time.Now()
		r, err := router.Open(ctx, allow{}, subject, sites, nil)
		require.NoError(b, err)
		cold(r.Bucket())
		require.NoError(b, r.Close(ctx))
		routed += time.Since(begun)
	}
	n := float64(b.N)
	b.ReportMetric(alone.Seconds()/n, "one-site-s")
	b.ReportMetric(plain.Seconds()/n, "one-site-and-copies-s")
	b.ReportMetric(routed.Seconds()/n, "routed-s")
	b.ReportMetric(routed.Seconds()/plain.Seconds(), "ratio")
}

func folder(b *testing.B) *blob.Bucket {
	bucket, err := dirblob.OpenBucket(b.TempDir(), nil)
	require.NoError(b, err)
	b.Cleanup(func() { _ = bucket.Close() })
	return bucket
}

func copyAll(b *testing.B, from, to *blob.Bucket) {
	ctx := context.Background()
	for it := from.List(nil); ; {
		o, err := it.Next(ctx)
		if err == io.EOF {
			return
		}
		require.NoError(b, err)
		r, err := from.NewReader(ctx, o.Key, nil)
		require.NoError(b, err)
		require.NoError(b, to.Upload(ctx, o.Key, r, &blob.WriterOptions{ContentType: "application/octet-stream"}))
		require.NoError(b, r.Close())
	}
}
