package engine_test

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/engine"
)

// BenchmarkCheck checks the repository in the folder that CAREKEEP_BENCH_REPO names, which BenchmarkRestore
// makes, by its structure and by reading all of it.
func BenchmarkCheck(b *testing.B) {
	dir := os.Getenv("CAREKEEP_BENCH_REPO")
	if dir == "" {
		b.Skip("CAREKEEP_BENCH_REPO names no folder")
	}
	ctx := context.Background()
	bucket, err := dirblob.OpenBucket(dir, nil)
	require.NoError(b, err)
	defer bucket.Close()
	for name, check := range map[string]func() (*engine.CheckReport, error){
		"structure": func() (*engine.CheckReport, error) { return benchCheck(b, dir, engine.CheckOptions{}) },
		"all":       func() (*engine.CheckReport, error) { return benchCheck(b, dir, engine.CheckOptions{ReadAll: true}) },
		"scrub":     func() (*engine.CheckReport, error) { return engine.Scrub(ctx, bucket, engine.Config{}, 0) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				rep, err := check()
				require.NoError(b, err)
				require.True(b, rep.OK(), describeFindings(rep))
				b.SetBytes(rep.Bytes)
				b.ReportMetric(float64(rep.Chunks), "chunks/op")
			}
		})
	}
}

func benchCheck(b *testing.B, dir string, o engine.CheckOptions) (*engine.CheckReport, error) {
	b.StopTimer()
	bucket, err := dirblob.OpenBucket(dir, nil)
	require.NoError(b, err)
	defer bucket.Close()
	r, err := engine.Open(context.Background(), bucket, checkKey, engine.Config{})
	require.NoError(b, err)
	b.StartTimer()
	return r.Check(context.Background(), o)
}
