package faulttest

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/chunk"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/source"
)

// TestManyChunks opens a repository of sixteen million chunks (long) on a host that never saw it and backs up data of which
// the repository has half. All that this takes more of the heap than the same backup into an empty repository is the index.
func TestManyChunks(t *testing.T) {
	chunks, known, added := 100_000, 15, 15
	if long() {
		chunks, known, added = 16<<20, 100, 100
	}
	const each = 400 // at least, in a file of 512 KiB
	c := engine.Config{Chunks: chunk.Params{Min: 256, Avg: 1 << 10, Max: 4 << 10}, PackSize: 2 << 20}
	files := chunks / each
	var grew [2]int64
	for i, present := range []int{0, files} {
		b, err := dirblob.OpenBucket(t.TempDir(), nil)
		require.NoError(t, err)
		defer b.Close()
		c.HostDir = t.TempDir()
		r, err := engine.Create(t.Context(), b, key("main"), c)
		require.NoError(t, err)
		began := time.Now()
		_, err = r.Backup(t.Context(), source.FromFS(noise{n: present, size: 512 << 10}), options("present"))
		require.NoError(t, err)
		r.Close()
		stored, took := size(t, b), time.Since(began)

		c.HostDir = t.TempDir()
		began = time.Now()
		var res *engine.Result
		grew[i] = peak(func() {
			if r, err = engine.Open(t.Context(), b, key("main"), c); err != nil {
				return
			}
			res, err = r.Backup(t.Context(), source.FromFS(noise{first: files - known, n: known + added, size: 512 << 10}), options("more"))
			r.Close()
		})
		require.NoError(t, err)
		more := size(t, b) - stored
		t.Logf("present: %d bytes stored in %v; more: %d bytes stored of %d, in %v; peak heap %.1f MiB",
			stored, took.Round(time.Millisecond), more, res.Description.Bytes, time.Since(began).Round(time.Millisecond), float64(grew[i])/(1<<20))
		if present > 0 {
			began = time.Now()
			rep, err := r.Check(t.Context(), engine.CheckOptions{ReadAll: true})
			require.NoError(t, err)
			require.NoError(t, findings(rep))
			require.GreaterOrEqual(t, rep.Chunks, int64(chunks))
			t.Logf("%d chunks checked in %v", rep.Chunks, time.Since(began).Round(time.Millisecond))
			require.Less(t, more, int64(added*512<<10)*6/10, "what is known was stored again")
		}
	}
	require.LessOrEqual(t, grew[1]-grew[0], int64(64<<20))
}

func size(t *testing.T, b *blob.Bucket) (sum int64) {
	for it := b.List(nil); ; {
		o, err := it.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return sum
		}
		require.NoError(t, err)
		sum += o.Size
	}
}
